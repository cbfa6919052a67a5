"""What models of a repository are called: names that are taken and refused, words and tags, the text of a config."""

from __future__ import annotations

import pytest
from maskline_serve.errors import RepositoryError
from maskline_serve.repository import config, names
from maskline_serve.repository.assemble import sources

TEXT = """name: "maskrcnn"  # not "mask"
input [ { name: "mask" data_type: TYPE_FP32 dims: [ 1 ] } ]
ensemble_scheduling {
  step [
    {
      model_name: "mask"
      model_version: -1
      input_map { key: "mask" value: "mask" }
    }
  ]
}
parameters { key: "mask" value: { string_value: "mask" } }
"""


@pytest.mark.parametrize("name", ["maskrcnn", "nuclei", "N", "cell_count.v2", "raw", "boxes", "a" * 64])
def test_a_name_that_is_taken(name: str) -> None:
    assert names.check_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "expected a letter"),
        ("nuclei-2", "expected a letter, then letters, digits"),  # could be a step
        ("../x", "expected a letter"),
        ("a/b", "expected a letter"),
        (".hidden", "expected a letter"),
        ("2nd", "expected a letter"),
        ("zwei wörter", "expected a letter"),
        ("nuclei\n", "expected a letter"),
        ("a" * 65, "64 in all"),
        ("nuclei_raw", "does not end in _raw"),  # another repository's ensemble
        ("nuclei_engines", "does not end in _engines"),
        ("mask", "none of those of its steps, preprocess, backbone, proposal, mask"),
        ("nuclei_boxes", "does not end in _boxes"),
    ],
)
def test_a_name_that_is_refused(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        names.check_name(name)
    assert repr(name) in str(refused.value)


def test_every_step_of_the_reviewed_configs_is_refused_as_a_name() -> None:
    """So that by its word a step is never taken for an ensemble, nor an ensemble for a step."""
    steps = {path.name for path in sources()[0].iterdir()} - {*names.ENSEMBLES}
    assert "keypoint" in steps
    for step in steps:
        with pytest.raises(ValueError, match=f"got the name '{step}', expected"):
            names.check_name(step)


def test_words_and_tags() -> None:
    assert names.tagged("backbone", "1f0c6b3ad2e9") == "backbone-1f0c6b3ad2e9"
    assert names.tagged("backbone", "") == "backbone"  # of a repository of an earlier release
    assert names.word_of("postprocess_raw-1f0c6b3ad2e9") == "postprocess_raw"
    assert names.word_of("postprocess_raw") == "postprocess_raw"


def test_public_ensembles_get_the_name_and_steps_the_tag() -> None:
    models = ("maskrcnn", "maskrcnn_raw", "maskrcnn_engines", "maskrcnn_boxes", "mask")
    assert names.renaming(models, "nuclei", "1f0c6b3ad2e9") == {
        "maskrcnn": "nuclei",
        "maskrcnn_raw": "nuclei_raw",
        "maskrcnn_engines": "nuclei_engines",
        "maskrcnn_boxes": "nuclei_boxes",
        "mask": "mask-1f0c6b3ad2e9",
    }


def test_names_of_models_change_in_a_text_and_nothing_else() -> None:
    text = config.with_names(TEXT, {"maskrcnn": "nuclei", "mask": "mask-0"}, "test")
    assert text == TEXT.replace('name: "maskrcnn"', 'name: "nuclei"').replace(
        'model_name: "mask"', 'model_name: "mask-0"'
    )


def test_a_text_in_which_names_cannot_be_changed_is_refused() -> None:
    with pytest.raises(RepositoryError, match="test: "):
        config.with_names(TEXT.replace("model_name: ", "model_name:"), {"maskrcnn": "nuclei", "mask": "mask-0"}, "test")
