"""COCO files, read and scored by one rule in training and in the client, and boxes matched by one.

It imports none of ours, and no torch.
"""
