"""Changes to good inputs, chosen by the bytes that the fuzzer mutates: the same bytes make the same input."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

from atheris import FuzzedDataProvider

NUMBERS = (0, -1, 1, 2, 3, 255, 2**16, 2**31 - 1, 2**31, -(2**31) - 1, 2**32, 2**53, 2**63 - 1, 2**63, 10**30)
FLOATS = (0.5, -0.0, 1e-45, 3e38, 1e308, -1e308, math.inf, -math.inf, math.nan)
TEXTS = ("", " ", "a", "fpn", "../../etc/passwd", "/", ".", "\n", "a\nb", "\0", "é", "\ud800", "{", "%s", "x" * 300)
_DEEP = 3000  # lists in each other: three times what Python's own recursion takes


def hostile(choices: FuzzedDataProvider) -> Any:
    """A value of JSON that no writer of ours would write there."""
    kinds = (
        lambda: choices.PickValueInList(list(NUMBERS)),
        lambda: choices.PickValueInList(list(FLOATS)),
        lambda: choices.PickValueInList(list(TEXTS)),
        lambda: choices.PickValueInList([None, True, False, [], {}]),
        lambda: choices.ConsumeInt(5),
        lambda: choices.ConsumeUnicode(choices.ConsumeIntInRange(0, 12)),
        lambda: [hostile_number(choices) for _ in range(choices.ConsumeIntInRange(0, 6))],
        lambda: {choices.PickValueInList(list(TEXTS)): choices.ConsumeInt(2)},
    )
    return kinds[choices.ConsumeIntInRange(0, len(kinds) - 1)]()


def hostile_number(choices: FuzzedDataProvider) -> float:
    """A whole number or a float of any size, NaN too."""
    return choices.PickValueInList([*NUMBERS, *FLOATS, choices.ConsumeInt(4), choices.ConsumeFloat()])


def edited_json(data: Any, choices: FuzzedDataProvider, most: int = 4) -> Any:
    """A copy of a JSON value with some of its entries replaced, taken out, doubled or put elsewhere."""
    changed = [copy.deepcopy(data)]  # in a list, so that the whole can be replaced too
    for _ in range(choices.ConsumeIntInRange(0, most)):
        parent, key = _place(changed, choices)
        way = choices.ConsumeIntInRange(0, 4)
        if way == 0:
            del parent[key]
        elif way == 1 and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif way == 2:
            other, there = _place(changed, choices)
            parent[key] = copy.deepcopy(other[there])
        elif way == 3 and isinstance(parent, dict):
            parent[choices.PickValueInList(list(TEXTS))] = parent.pop(key)
        else:
            parent[key] = hostile(choices)
        if not changed:
            return None
    return changed[0]


def _place(data: Any, choices: FuzzedDataProvider) -> tuple[Any, Any]:
    """A container and a key in it, reached by a walk of random length."""
    parent, key = data, 0
    while True:
        inner = parent[key]
        if not isinstance(inner, dict | list) or not inner or choices.ConsumeIntInRange(0, 4) == 0:
            return parent, key
        keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
        parent, key = inner, keys[choices.ConsumeIntInRange(0, len(keys) - 1)]


def json_file(data: Any, choices: FuzzedDataProvider) -> bytes:
    """A JSON file of an edited value: mostly whole, else with its bytes changed too, or of lists in each other."""
    way = choices.ConsumeIntInRange(0, 15)
    if way == 1:
        return b"[" * _DEEP + b"]" * choices.ConsumeIntInRange(0, _DEEP)
    text = json.dumps(edited_json(data, choices)).encode()
    return edited_bytes(text, choices) if way == 2 else text


def edited_bytes(data: bytes, choices: FuzzedDataProvider, most: int = 8) -> bytes:
    """A file with some of its bytes replaced, taken out, inserted or copied, or cut short."""
    changed = bytearray(data)
    for _ in range(choices.ConsumeIntInRange(0, most)):
        at = choices.ConsumeIntInRange(0, max(len(changed) - 1, 0))
        length = choices.ConsumeIntInRange(1, 16)
        way = choices.ConsumeIntInRange(0, 5)
        if way == 0:
            changed[at : at + 1] = choices.ConsumeBytes(1)
        elif way == 1:
            changed[at : at + length] = choices.ConsumeBytes(length)
        elif way == 2:
            changed[at:at] = choices.ConsumeBytes(length)
        elif way == 3:
            changed[at:at] = changed[at : at + 64 * length]
        elif way == 4:
            del changed[at : at + length]
        else:
            size = choices.PickValueInList([2, 4, 8])
            number = choices.PickValueInList([0, 1, 2**15, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1])
            order = choices.PickValueInList(["big", "little"])
            changed[at : at + size] = (number % 256**size).to_bytes(size, order)
    if choices.ConsumeIntInRange(0, 9) == 1:
        del changed[choices.ConsumeIntInRange(0, len(changed)) :]
    return bytes(changed)
