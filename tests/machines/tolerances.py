"""A pytest plugin that records how much of its tolerance each comparison of numbers uses, and which tests fail.

`python -m pytest -p machines.tolerances` with MASKLINE_MARGINS set. It stands in for `torch.testing.assert_close`,
`torch.allclose`, `numpy.testing.assert_allclose` and the comparison of `pytest.approx`: the worst share a test and
line, 1 being all of it, is written as a row of `margins`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

_worst: dict[str, float] = {}
TESTS = str(Path(__file__).parents[1])


def _share(actual: Any, expected: Any, rtol: float, atol: float) -> float:
    """The largest difference, in tolerances; 0 where both are the same."""
    pair = (x.detach().double().cpu() if isinstance(x, torch.Tensor) else x for x in (actual, expected))
    a, b = (np.asarray(x, np.float64) for x in pair)
    difference, allowed = np.abs(a - b), atol + rtol * np.abs(b)
    differs = difference > 0
    if not differs.any():
        return 0.0
    shares = difference[differs] / np.broadcast_to(allowed, difference.shape)[differs]
    return float(np.nan_to_num(shares, nan=0.0, posinf=0.0).max())


def _note(function: str, share: float) -> None:
    """Under the line of the test that compares."""
    frame = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith(TESTS):
        frame = frame.f_back  # type: ignore[assignment]
    line = frame.f_lineno if frame is not None else 0
    what = f"line {line}, {function}: share of the tolerance"
    _worst[what] = max(_worst.get(what, 0.0), share)


def _wrap(owner: Any, name: str, defaults: Callable[..., tuple[float, float]]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def measured(actual: Any, expected: Any, *args: Any, **options: Any) -> Any:
        result = original(actual, expected, *args, **options)
        if result is not False:  # a `not allclose` wants a difference
            # Trees, strings and other shapes are not one array of numbers.
            with contextlib.suppress(TypeError, ValueError, RuntimeError):
                _note(name, _share(actual, expected, *defaults(actual, *args, **options)))
        return result

    setattr(owner, name, measured)


def _close(actual: Any, rtol: float | None = None, atol: float | None = None, **_: Any) -> tuple[float, float]:
    """torch.testing.assert_close: its defaults depend on the type."""
    if rtol is None or atol is None:
        rtol, atol = torch.testing._comparison.default_tolerances(torch.as_tensor(actual))
    return rtol, atol


def _allclose(_: Any, rtol: float = 1e-5, atol: float = 1e-8, **__: Any) -> tuple[float, float]:
    return rtol, atol


def _numpy(_: Any, rtol: float = 1e-7, atol: float = 0.0, **__: Any) -> tuple[float, float]:
    return rtol, atol


def pytest_configure() -> None:
    """Stand in for the comparisons."""
    _wrap(torch.testing, "assert_close", _close)
    _wrap(torch, "allclose", _allclose)
    _wrap(np.testing, "assert_allclose", _numpy)
    approximate = type(pytest.approx(1.0))  # a private class, in another module every few releases
    equal = approximate.__eq__

    def measured(self: Any, actual: Any) -> bool:
        result = equal(self, actual)
        if result and isinstance(actual, int | float) and isinstance(self.expected, int | float):
            _note("approx", _share(float(actual), float(self.expected), 0.0, float(self.tolerance)))
        return result

    approximate.__eq__ = measured  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Write the rows of a test."""
    _worst.clear()
    yield
    _write(
        {"test": item.nodeid, "what": what, "value": share, "limit": 1.0, "wrong": None, "side": "below"}
        for what, share in _worst.items()
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name the tests that fail."""
    if report.failed:
        _write([{"failed": report.nodeid}])


def _write(rows: Any) -> None:
    with open(os.environ["MASKLINE_MARGINS"], "a") as file:  # noqa: PTH123 - a test may stand in for Path.open
        file.writelines(json.dumps(row) + "\n" for row in rows)
