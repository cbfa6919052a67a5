"""The branches that see one region each: box, mask, keypoint."""
