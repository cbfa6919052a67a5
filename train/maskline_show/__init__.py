"""What people look at: objects drawn on pictures, and pages of HTML with their charts.

The client, training, the benchmarks and the demo show by one rule. It imports none of ours, and no torch.
"""
