"""Optimisation profiles: what `--profile` may say, and which canvases a request can get."""

from __future__ import annotations

import itertools
import json

import pytest
from maskline_export.engine.profiles import Profile, profiles, request_canvases
from maskline_export.errors import EngineBuildError
from maskline_export.manifest import TensorInfo
from maskline_train.data.canvas import choose_canvas
from maskline_train.spec import PreprocessingSpec

BASELINE = PreprocessingSpec()
TWO = PreprocessingSpec(96, 128, ((96, 128), (128, 96)))


def test_the_default_is_one_profile_a_canvas() -> None:
    assert profiles((), BASELINE) == tuple(
        Profile((1, 4, 8), canvas) for canvas in ((800, 1344), (1344, 800), (1344, 1344))
    )


def test_one_canvas_can_have_its_own_batches() -> None:
    found = profiles(("1:1:2", "1:4:16@96x128", "2:2:2@32x64"), TWO)
    assert [str(profile) for profile in found] == ["1:4:16@96x128", "1:1:2@128x96", "1:1:2@128x128", "2:2:2@32x64"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("8", "got '8', expected MIN:OPT:MAX"),
        ("1:2:3:4", "expected MIN:OPT:MAX"),
        ("1:2:3@96", "expected MIN:OPT:MAX"),
        ("0:1:2", "expected 1 <= MIN <= OPT <= MAX"),
        ("2:1:4", "expected 1 <= MIN <= OPT <= MAX"),
        ("1:2:4@100x128", "expected multiples of 32"),
        ("1:2:4@0x128", "expected multiples of 32"),
    ],
)
def test_what_it_does_not_say(text: str, words: str) -> None:
    with pytest.raises(EngineBuildError, match=words):
        profiles((text,), TWO)


@pytest.mark.parametrize(
    "canvases",
    [
        BASELINE.canvases,
        TWO.canvases,
        ((32, 320), (64, 256), (128, 128), (256, 64)),  # maxima of maxima
        ((32, 320), (64, 256), (96, 352), (320, 32)),  # one holds two others, but not the third
        ((64, 64),),
    ],
    ids=str,
)
def test_every_canvas_that_a_request_can_share_has_a_profile(canvases: tuple[tuple[int, int], ...]) -> None:
    """By the very function that training and verify choose a batch's canvas with."""
    spec = PreprocessingSpec(32, 320, canvases)
    reachable = set()
    for count in range(1, len(canvases) + 1):
        for chosen in itertools.combinations(canvases, count):
            reachable.add(choose_canvas(list(chosen), spec))  # images that fill their canvas
    assert set(request_canvases(spec)) == reachable


@pytest.mark.parametrize("texts", [(), ("1:4:8",), ("1:4:8@96x128",)])
def test_canvases_that_are_no_list_have_no_profiles(texts: tuple[str, ...]) -> None:
    """The list that the refusal names is one that a model can have."""
    own = PreprocessingSpec(800, 1333, (), canvas_multiple=1)
    with pytest.raises(EngineBuildError, match=r"canvas_multiple: got 1, .*expected a list of canvases") as error:
        profiles(texts, own)
    named = "[[800, 1344], [1344, 800], [1344, 1344]]"
    assert f"canvases to {named}, and export again" in str(error.value)
    assert PreprocessingSpec(canvases=tuple(map(tuple, json.loads(named)))) == BASELINE
    with pytest.raises(EngineBuildError, match=r"canvases to \[\[256, 256\]\], and"):
        profiles(texts, PreprocessingSpec(250, 250, (), canvas_multiple=32))


def test_shapes_of_a_tensor() -> None:
    profile = Profile((1, 2, 4), (96, 160))
    assert profile.shapes(TensorInfo("canvas", "UINT8", ("B", "H", "W", 3))) == [(n, 96, 160, 3) for n in (1, 2, 4)]
    assert profile.shapes(TensorInfo("rpn_logits_p6", "FP32", ("B", 3, "H6", "W6"))) == [
        (n, 3, 2, 3) for n in (1, 2, 4)
    ]
    assert profile.shapes(TensorInfo("boxes", "FP32", ("B", 100, 4))) == [(n, 100, 4) for n in (1, 2, 4)]
