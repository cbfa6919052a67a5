"""Batches on the device: on a GPU the next one is copied there, on a stream of its own, while this one is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

from maskline_train.data.loader import Batch

Item = TypeVar("Item")


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches in the same order, on `device`.

    The batches should lie in pinned memory where the device is a GPU: only such a copy runs beside computing. What the
    reading of a batch raises is raised at that batch's turn, with all before it given out.
    """
    if device.type != "cuda":
        return (batch.to(device) for batch in batches)
    return _copied_ahead(batches, device)


def _copied_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def copy(batch: Batch) -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.stream(stream):
            return batch.to(device), stream.record_event()

    for batch, copied in one_ahead(map(copy, batches)):
        computing = torch.cuda.current_stream(device)
        computing.wait_event(copied)  # not for the stream, where the next copy is on its way by now
        for tensor in _tensors(batch):  # else its memory could hold a later copy before this batch is computed
            tensor.record_stream(computing)
        yield batch


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each taken from `items` before the one in front of it is given out."""
    this = _take(items)
    while isinstance(this, _Taken):
        following = _take(items)
        yield this.item
        this = following
    if this is not None:
        raise this


@dataclasses.dataclass(frozen=True)
class _Taken(Generic[Item]):
    item: Item


def _take(items: Iterator[Item]) -> _Taken[Item] | Exception | None:
    """The next item, or what went wrong in place of it; None where there is no further one."""
    try:
        return _Taken(next(items))
    except StopIteration:
        return None
    except Exception as error:  # whatever it is, its turn comes after the item before it
        return error


def _tensors(part: object) -> Iterator[Tensor]:
    """The tensors of a batch, in dataclasses and tuples however deep."""
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, tuple):
        for each in part:
            yield from _tensors(each)
    elif dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            yield from _tensors(getattr(part, field.name))
