"""What can go wrong in maskline_serve: each text says what, got, expected and the next step, in one line."""

from __future__ import annotations


class ServeError(Exception):
    """Base of every error this package raises on purpose; its text is one line fit for a terminal."""

    exit_code = 1


class ArtifactError(ServeError):
    """The artifact folder is missing, damaged, or written by a release that does not fit."""


class EnginesError(ServeError):
    """The folder of engines is missing, damaged, or does not fit the artifact or Triton."""


class RepositoryError(ServeError):
    """The model repository is missing, not assembled by us, or must not be overwritten."""


class ServerNotFoundError(ServeError):
    """No tritonserver on this machine, or one that this Python cannot serve."""


class GpuNotFoundError(ServeError):
    """A repository for a GPU on a machine without the card, or without the libraries."""


class CertificateError(ServeError):
    """The files of the server's TLS are missing, damaged, over their date, or do not go together."""


class PortTakenError(ServeError):
    """A port that was asked for is in use."""


class ServerFailedError(ServeError):
    """The server ended, or did not become ready, or its canary answer was wrong."""


class SharedMemoryRaceError(ServerFailedError):
    """The server's Python backend aborted by a race of its own, which another start does not meet again."""


class ModelNotLoadedError(ServerFailedError):
    """A model of the repository did not load; the text carries the model's name and its own error line."""
