"""Tables for people: whole rows into a pipe, foreign text as it is, nothing that a terminal would obey."""

from __future__ import annotations

import io

from gyms.cli.show import Grid, listed, show


def shown(*blocks: str | Grid) -> str:
    stream = io.StringIO()
    show(blocks, stream)
    return stream.getvalue()


def test_columns_are_aligned_and_lines_have_no_trailing_spaces() -> None:
    grid = Grid(title="Things", columns=("name", "size"), rows=[["a", "1"], ["longer", "22"]])
    assert shown(grid) == "Things\nname    size\na       1\nlonger  22\n"


def test_a_table_without_heads_and_an_empty_one() -> None:
    assert shown(Grid(columns=("", ""), rows=[["a", "b"]])) == "a  b\n"
    assert shown(Grid(columns=("name",), rows=[])) == "name\n"


def test_blocks_are_parted_by_an_empty_line() -> None:
    assert shown("one", Grid(columns=("",), rows=[["x"]]), "two\nthree") == "one\n\nx\n\ntwo\nthree\n"


def test_brackets_are_no_markup_and_a_row_stays_one_line() -> None:
    grid = Grid(columns=("", ""), rows=[["[red]x[/red]", "first\nsecond  :smile:"]])
    assert shown(grid) == "[red]x[/red]  first second :smile:\n"


def test_control_characters_of_foreign_text_are_replaced() -> None:
    assert (
        shown("a\x1b[2Jb\x07", Grid(columns=("",), rows=[["\x1b]0;x\x07\t|"]]))
        == "a\ufffd[2Jb\ufffd\n\n\ufffd]0;x\ufffd |\n"
    )


def test_a_list_of_nothing_says_so() -> None:
    assert (listed(["a", "b"], none="nothing"), listed([], none="nothing")) == ("a, b", "nothing")
