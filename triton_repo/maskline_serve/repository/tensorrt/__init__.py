"""The target `tensorrt`: engines, their types in the configs, and what they are served with."""
