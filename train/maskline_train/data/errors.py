"""What the data package raises: `DataError` for a dataset, `ImageError` for one image."""

from maskline_coco.errors import DataError, ImageError

__all__ = ["DataError", "ImageError"]
