"""Networks of detectron2: their weights, their config, and what differs."""
