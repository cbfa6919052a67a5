"""Features of a region: RoIAlign over the levels, the other operators of the paper, their gradients."""
