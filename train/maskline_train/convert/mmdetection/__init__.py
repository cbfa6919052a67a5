"""Networks of mmdetection: their weights, the config in their files, and what differs."""
