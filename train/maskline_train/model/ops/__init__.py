"""Ops of the training step as torch sees them, `torch.ops.maskline.*`: one node each in a compiled graph."""
