"""The targets: what is fuzzed, and for how long where nobody says otherwise."""

from __future__ import annotations

import dataclasses

NATIVE = "native"


@dataclasses.dataclass(frozen=True)
class Target:
    """One target.

    Attributes:
        name: a module below `fuzz`, or `native.X`: the program maskline_fuzz_X of plugins/testing/fuzz.
        runs: executions of `make fuzz`.
        short: executions in the tests.
        has_server: whether it calls the real server, which is started for it.
        is_long: whether the tests leave it to `make test-long`, since to import PyTorch takes longer than the run.
    """

    name: str
    runs: int
    short: int
    has_server: bool = False
    is_long: bool = False

    @property
    def program(self) -> str | None:
        """The program of a native target."""
        kind, _, rest = self.name.partition(".")
        return f"maskline_fuzz_{rest}" if kind == NATIVE else None


# Runs by what one costs: about a minute of one core each, and a million where that takes a few.
TARGETS = (
    Target("files.images", 200_000, 1000),
    Target("files.coco", 60_000, 300),
    Target("files.descriptions", 5000, 60, is_long=True),
    Target("files.checkpoint", 5000, 40, is_long=True),
    Target("files.onnx_file", 60_000, 500),
    Target("files.foreign", 60_000, 300),
    Target("files.config", 60_000, 200),
    Target("masks.encode", 1_000_000, 1000),
    Target("masks.decode", 1_000_000, 1000),
    Target("wire.answers", 100_000, 400),
    Target("wire.grpc_requests", 20_000, 300, has_server=True),
    Target("wire.http_requests", 20_000, 300, has_server=True),
    Target("native.roi_align", 1_000_000, 2000),
    Target("native.proposal_nms", 1_000_000, 2000),
    Target("native.classwise_nms", 1_000_000, 2000),
    Target("native.mask_rle", 1_000_000, 2000),
    Target("native.resize", 1_000_000, 2000),
    Target("native.fields", 1_000_000, 2000),
    Target("native.backend_config", 1_000_000, 2000),
)


def named(name: str) -> list[Target]:
    """The target of that name, or all of a group: `files`, `masks`, `wire`, `native`.

    Raises:
        ValueError: there is none.
    """
    found = [target for target in TARGETS if name in (target.name, target.name.partition(".")[0])]
    if not found:
        known = ", ".join(target.name for target in TARGETS)
        raise ValueError(f"target: got {name!r}, expected one of {known}, or a group such as files")
    return found
