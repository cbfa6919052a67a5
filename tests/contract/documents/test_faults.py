"""docs/faults.md is what `make faults` wrote of its results, of every kind that there is."""

import json
from pathlib import Path

from faults.page import page
from faults.run import KINDS, PAGE, RESULTS


def test_the_committed_page_is_what_the_command_writes() -> None:
    assert PAGE.read_text("utf-8") == page(RESULTS, KINDS), "run `make faults-page`"


def test_every_kind_was_tried_and_none_differs() -> None:
    outcomes = {row["name"]: row["outcome"] for row in json.loads(RESULTS.read_text("utf-8"))["kinds"]}
    assert list(outcomes) == [kind.name for kind in KINDS]
    assert len(KINDS) >= 25
    assert set(outcomes.values()) <= {"holds", "not run"}


def test_what_could_not_be_made_says_why() -> None:
    assert all(row["seen"] for row in json.loads(RESULTS.read_text("utf-8"))["kinds"])


def test_a_kind_that_differs_or_was_not_tried_shows_on_the_page(tmp_path: Path) -> None:
    found = json.loads(RESULTS.read_text("utf-8"))
    found["kinds"] = [{**found["kinds"][0], "outcome": "differs", "seen": "wrong"}]
    (tmp_path / "faults.json").write_text(json.dumps(found))
    text = page(tmp_path / "faults.json", KINDS)
    assert "0 hold, 1 differ" in text
    assert f"not tried: {KINDS[1].name}" in text
