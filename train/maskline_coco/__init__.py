"""COCO files, read and scored by one rule in training and in the client. It imports none of ours, and no torch."""
