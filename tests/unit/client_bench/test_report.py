"""The report shows all of a long cell: one that may not break is cut where the page ends."""

from importlib.resources import files

from maskline_show.parts import cell


def test_long_text_may_break_into_lines_and_numbers_may_not() -> None:
    batches = ", ".join(f"{count} of {size}" for size, count in enumerate(range(100, 108), 1))
    assert cell(batches) == f'<td class="words">{batches}</td>'
    assert cell("100 of 1") == "<td>100 of 1</td>"
    assert "class" not in cell(123456.789)
    style = files("maskline_show").joinpath("page.css").read_text(encoding="utf-8")
    assert "td.words { text-align: left; white-space: normal;" in style
