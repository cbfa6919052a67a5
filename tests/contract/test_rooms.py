"""A house of rooms: no folder that one has to search, no circles, and every signpost leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from support.structure.house import arrows, circles, files_a_folder, tracked

ROOT = Path(__file__).parents[2]
FILES = tracked(ROOT)
LARGEST_ROOM = 15


def test_a_folder_holds_few_enough_files_to_be_read_at_a_glance() -> None:
    full = {str(folder): number for folder, number in files_a_folder(FILES).items() if number > LARGEST_ROOM}
    assert not full, f"more than {LARGEST_ROOM} files; make rooms by what belongs together: {full}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert not circles(arrows(ROOT, FILES))


def test_a_circle_would_be_found() -> None:
    assert circles({("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")}) == ["a", "b", "c"]


def test_links_between_documents_lead_to_files() -> None:
    for page in (path for path in FILES if path.suffix == ".md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target or target.startswith("#"):
                continue
            path = (ROOT / page).parent / target.split("#")[0]
            assert path.exists(), f"{page}: {target} does not exist"
