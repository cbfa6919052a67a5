"""Pictures of detections: masks, boxes, captions, skeletons."""
