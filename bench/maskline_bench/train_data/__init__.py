"""Producing training items on one core of the CPU: ours and torchvision's reference pipeline, stage by stage."""
