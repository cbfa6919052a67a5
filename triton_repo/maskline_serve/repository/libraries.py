"""Brings our compiled libraries into a repository, where they are to be had.

The step `postprocess` encodes masks with libmaskline_host.so, and `preprocess` resizes with it where the filter is not
Pillow's; without it numpy does both, to the same bytes. The `onnxruntime` backend runs our ops by libmaskline_ort.so;
without it their bodies run, which find the same. And the backend itself is libtriton_onnxruntime.so, in the server's
process, where that finds ONNX Runtime's library; without it each stage has a process of Python, and what goes from one
to the next is copied through shared memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import maskline_host

from maskline_serve.errors import RepositoryError
from maskline_serve.repository.on_disk import Repository

_MASKS = PurePosixPath("models/postprocess/1/maskline_host")
_RESIZING = PurePosixPath("models/preprocess/1/maskline_host")
_BINDING = ("__init__.py", "library.py")  # what both steps need of the package, beside a file of their own
_LIBRARY = "libmaskline_host.so"
# Inside a repository.
CUSTOM_OPS_PLACE = "backends/onnxruntime/libmaskline_ort.so"
BACKEND_PLACE = "backends/onnxruntime/libtriton_onnxruntime.so"

_HOW = "the wheel for Linux brings it, `make plugins` builds it; then assemble again"
# 100 masks of all sizes in 480x640 on two cores: 54 ms and 0.85 ms (make bench-ops, docs/benchmarks).
NUMPY = f"numpy encodes masks, some 60 times slower than {_LIBRARY} (100 masks at 480x640: about 54 ms); {_HOW}"
BODIES = f"the bodies of our ops run, not libmaskline_ort.so, which is faster (`make bench-engines`); {_HOW}"
STUBS = (
    "each stage runs in a process of Python and hands its tensors on through shared memory, not by "
    f"libtriton_onnxruntime.so in the server's process, which adds less to an answer (docs/benchmarks, C11); {_HOW}"
)


def host_place(repository: Repository, step: str = "postprocess") -> str:
    """Where in a repository the host library lies for a step, `postprocess` or `preprocess`, if it is there."""
    return f"models/{repository.model(step).name}/1/maskline_host/{_LIBRARY}"


def slower(repository: Repository) -> list[str]:
    """What the repository lacks of the libraries costs: a line each."""
    wanted = {host_place(repository): NUMPY}
    if not repository.engines:
        wanted[CUSTOM_OPS_PLACE] = BODIES
    if not repository.engines and not repository.gpu:
        wanted[BACKEND_PLACE] = STUBS
    return [text for place, text in wanted.items() if place not in repository.files]


def write_host_library(folder: Path, resize_filter: str) -> None:
    """Copy the library and its binding, if there is one, into a repository that is being written.

    Args:
        folder: the repository, which has its models.
        resize_filter: of its network; the step `preprocess` has no use for the library where it is `pillow`.

    Raises:
        RepositoryError: $MASKLINE_HOST_LIBRARY names no file.
    """
    library = _found(maskline_host.library_path)
    if library is None:
        return
    wanted = {_MASKS: "mask_rle.py"} | ({} if resize_filter == "pillow" else {_RESIZING: "resize.py"})
    for place, binding in wanted.items():
        target = folder / place
        target.mkdir()
        for name in (*_BINDING, binding):
            shutil.copyfile(Path(maskline_host.__file__).parent / name, target / name)
        shutil.copyfile(library, target / _LIBRARY)


def write_backend_libraries(folder: Path, on_gpu: bool) -> None:
    """Copy custom ops and backend, if they are there, into a repository that is being written and has its backends.

    On a GPU the backend in Python runs, which hands tensors on where they lie on the card: the library computes on the
    CPU alone.

    Raises:
        RepositoryError: as `write_host_library`.
    """
    places = {CUSTOM_OPS_PLACE: maskline_host.custom_ops_path}
    if not on_gpu:
        places[BACKEND_PLACE] = maskline_host.backend_path
    for place, look in places.items():
        library = _found(look)
        if library is not None:
            shutil.copyfile(library, folder / place)


def _found(look: Callable[[], Path | None]) -> Path | None:
    try:
        return look()
    except maskline_host.HostLibraryError as error:
        raise RepositoryError(str(error)) from None
