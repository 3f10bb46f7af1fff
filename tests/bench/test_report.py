"""The document: what is written by hand stays, what is made from figures is what the figures say."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bench.__main__ import DOCUMENT
from bench.report import PICTURES, filled
from bench.results import FILE, load
from tests.bench.figures import results

_PAGE = "Before.\n\n<!-- bench ls -->\nold\n<!-- end ls -->\n\nAfter.\n"

_FIGURES = results(
    ("ls", "tmux", 1, [3.0, 4.0, 5.0]), ("ls", "toowl", 1, [40.0]), ("ls", "toowl", 50, [50.0])
)


def test_what_is_written_by_hand_stays() -> None:
    page = filled(_PAGE, _FIGURES)
    assert page.startswith("Before.\n\n<!-- bench ls -->\n|") and page.endswith("<!-- end ls -->\n\nAfter.\n")
    assert "old" not in page


def test_made_twice_it_is_the_same() -> None:
    page = filled(_PAGE, _FIGURES)
    assert filled(page, _FIGURES) == page


def test_a_row_for_each_contender_with_median_and_quartiles() -> None:
    rows = re.findall(r"^\|(.+)\|$", filled(_PAGE, _FIGURES), re.MULTILINE)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    assert cells[2:] == [["tmux", "4 (3.5 to 4.5)", "", ""], ["**toowl**, persistent", "40", "50", ""]]


def test_a_block_without_figures_says_so() -> None:
    assert "Not measured." in filled(_PAGE, results())


def test_an_unknown_block_is_refused() -> None:
    with pytest.raises(ValueError, match="'nonsense'"):
        filled("<!-- bench nonsense -->\n<!-- end nonsense -->", _FIGURES)


def test_a_target_that_is_not_reached_says_by_how_much() -> None:
    figures = results(("text", "toowl", None, [40]), ("text", "tmux", None, [20]), unit="MB/s")
    page = filled("<!-- bench targets -->\n<!-- end targets -->", figures)
    assert "≥ 2.5 x | 2 x (40 / 20 MB/s) | **lacks a factor of 1.25**" in page


def test_the_committed_document_is_what_the_committed_figures_say() -> None:
    figures, page = load(FILE), DOCUMENT.read_text()
    assert filled(page, figures) == page, "run `python -m bench report`"
    for name, draw in PICTURES.items():
        assert (DOCUMENT.with_suffix("") / f"{name}.svg").read_text() == draw(figures)
        assert f"performance/{name}.svg" in page


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_svg_within_its_frame(name: str) -> None:
    picture = ElementTree.fromstring(PICTURES[name](load(FILE)))
    width, height = (float(picture.attrib[side]) for side in ("width", "height"))
    texts = list(picture.iter("{http://www.w3.org/2000/svg}text"))
    assert len(texts) > 3
    for text in texts:
        assert 0 <= float(text.attrib["x"]) < width and 0 < float(text.attrib["y"]) <= height


@pytest.mark.parametrize("name", PICTURES)
def test_no_picture_without_figures(name: str) -> None:
    assert PICTURES[name](results()) == ""
