"""Digits and stick figures on a CPU: the demo, the small ablations. Not the paper's networks."""
