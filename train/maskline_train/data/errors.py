"""What the data package raises: `DataError` for a dataset, `ImageError` for one image."""

import contextlib
from collections.abc import Callable, Iterator

from maskline_coco.errors import DataError, ImageError

__all__ = ["DataError", "ImageError", "broken_files"]


@contextlib.contextmanager
def broken_files(say: Callable[[Exception], str]) -> Iterator[None]:
    """Within it Pillow reads a file of a data set: whatever its readers raise on a broken one is a DataError.

    Args:
        say: the text of one, of what was raised.

    Raises:
        DataError: a broken file, or what was raised within as such.
        ImageError: as it was raised within.
        OSError: the file cannot be opened, e.g. no permission; Pillow's own have no `errno`.
    """
    try:
        yield
    except (DataError, ImageError):
        raise
    except Exception as error:  # Pillow's readers raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(say(error)) from error
