"""From detections to results: masks at the original size, AP, pictures, several views of an image."""
