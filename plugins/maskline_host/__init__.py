"""The ops of maskline on the host: numpy arrays in, numpy arrays out, computed by `libmaskline_host.so`.

Needs numpy and the compiled library (in the wheel for Linux, or by `make plugins`); imports nothing else of ours.
`library_path()` says whether the library is there, `custom_ops_path()` whether the one for ONNX Runtime is, and
`backend_path()` whether the backend for Triton is.
"""

from .library import HostLibraryError, backend_path, custom_ops_path, library_path

__all__ = ["HostLibraryError", "backend_path", "custom_ops_path", "library_path"]
