"""What reading data raises: `DataError` for a dataset, `ImageError` for one image."""

from __future__ import annotations


class DataError(ValueError):
    """A dataset cannot be used; the text says what, got, expected and the next step."""


class ImageError(DataError):
    """An image file cannot be decoded, or is beyond the limits."""
