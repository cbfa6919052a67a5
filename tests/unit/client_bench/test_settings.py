"""Which ensemble a benchmark calls."""

import pytest
from maskline_client.bench.settings import BenchSettings, Ensemble, ensemble_name


@pytest.mark.parametrize(
    ("model", "ensemble", "called"),
    [
        ("maskrcnn", None, "maskrcnn"),
        ("nuclei", Ensemble.FULL, "nuclei"),
        ("nuclei", Ensemble.RAW, "nuclei_raw"),
        ("nuclei", Ensemble.BOXES, "nuclei_boxes"),
        ("maskrcnn_engines", None, "maskrcnn_engines"),  # the spelling of earlier releases
        ("maskrcnn_raw", Ensemble.RAW, "maskrcnn_raw"),
    ],
)
def test_a_model_and_one_of_its_ensembles_are_called(model: str, ensemble: Ensemble | None, called: str) -> None:
    assert ensemble_name(model, ensemble) == called
    assert BenchSettings("host:1", model=called).takes_canvases == called.endswith("_engines")


def test_two_ensembles_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="--ensemble: got engines with --model nuclei_raw, expected --model nuclei"):
        ensemble_name("nuclei_raw", Ensemble.ENGINES)
