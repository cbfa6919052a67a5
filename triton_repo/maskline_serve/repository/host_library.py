"""Brings libmaskline_host.so and its Python binding into a repository, where the library is to be had.

The step `postprocess` encodes masks with it; without it, numpy does, to the same bytes.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

import maskline_host

from maskline_serve.errors import RepositoryError

_FOLDER = PurePosixPath("models/postprocess/1/maskline_host")
_BINDING = ("__init__.py", "library.py", "mask_rle.py")  # what `postprocess` needs of the package
_LIBRARY = "libmaskline_host.so"
PLACE = (_FOLDER / _LIBRARY).as_posix()  # inside a repository

# 100 masks of all sizes in 480x640 on two cores: 54 ms and 0.85 ms (make bench-ops, docs/benchmarks).
SLOWER = (
    "numpy encodes masks, some 60 times slower than libmaskline_host.so (100 masks at 480x640: about 54 ms); "
    "the wheel for Linux brings it, `make plugins` builds it; then assemble again"
)


def write_host_library(folder: Path) -> bool:
    """Copy the library and its binding into a repository that is being written.

    Returns:
        Whether there is a library.

    Raises:
        RepositoryError: $MASKLINE_HOST_LIBRARY names no file.
    """
    try:
        library = maskline_host.library_path()
    except maskline_host.HostLibraryError as error:
        raise RepositoryError(str(error)) from None
    if library is None:
        return False
    target = folder / _FOLDER
    target.mkdir()
    for name in _BINDING:
        shutil.copyfile(Path(maskline_host.__file__).parent / name, target / name)
    shutil.copyfile(library, target / _LIBRARY)
    return True
