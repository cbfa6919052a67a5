"""Checkpoints: an edited model.json, and weights whose header lies, are refused before a model of any size is made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from atheris import FuzzedDataProvider
from fuzz.edits import edited_bytes, edited_json, json_file
from fuzz.oracle import judged
from maskline_train.checkpoint import SPEC_FILE, WEIGHTS_FILE, load_model, read_weights, save_model
from maskline_train.model.mask_rcnn import MaskRCNN
from safetensors.torch import save_file
from support.models.tiny import tiny_spec

_LENGTH_BYTES = 8  # of the header, before it


def prepare(place: Path) -> Callable[[bytes], None]:
    """The target: model.json beside good weights, or a small file of weights by itself."""
    folder = place / "checkpoint"
    torch.manual_seed(0)
    save_model(folder, MaskRCNN(tiny_spec()))
    load_model(folder)
    spec = json.loads((folder / SPEC_FILE).read_text())
    small = place / "small.safetensors"
    save_file({"a": torch.ones(2, 3), "b": torch.arange(4), "c": torch.ones(5).half()}, small)
    weights = small.read_bytes()
    plain = place / "plain.pth"
    torch.save({"a": torch.ones(2, 3)}, plain)
    saved = plain.read_bytes()

    def run(data: bytes) -> None:
        choices = FuzzedDataProvider(data)
        kind = choices.ConsumeIntInRange(0, 3)
        if kind == 0:
            (folder / SPEC_FILE).write_bytes(json_file(spec, choices))
            with judged(ValueError):
                load_model(folder)
        elif kind == 1:
            plain.write_bytes(edited_bytes(saved, choices))
            with judged(ValueError):
                read_weights(plain)
        else:
            small.write_bytes(edited_bytes(weights, choices) if kind == 2 else _with_header(weights, choices))
            with judged(ValueError):
                read_weights(small)

    assert WEIGHTS_FILE in {path.name for path in folder.iterdir()}
    return run


def _with_header(weights: bytes, choices: FuzzedDataProvider) -> bytes:
    """A .safetensors file whose header is edited, and has its right length."""
    end = _LENGTH_BYTES + int.from_bytes(weights[:_LENGTH_BYTES], "little")
    header = json.dumps(edited_json(json.loads(weights[_LENGTH_BYTES:end]), choices)).encode()
    return len(header).to_bytes(_LENGTH_BYTES, "little") + header + weights[end:]
