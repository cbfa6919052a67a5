"""Keypoints of persons on COCO, as in section 5 of the paper and its appendix."""
