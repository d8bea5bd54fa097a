"""Which part of a response counts: thoughts, invisible characters, line ends, fences; in linear time."""

from __future__ import annotations

import copy
import pickle

import pytest

from gyms.response import (
    THOUGHT_MARKS,
    Response,
    after_thoughts,
    final_text,
    marks_of_template,
    plain,
    whole_of,
    without_fences,
)
from reward.desk import canonical_pickle
from tests.growth import grows_linearly


@pytest.mark.parametrize("marks", THOUGHT_MARKS, ids=lambda marks: marks[0])
def test_thoughts_are_cut_by_every_mark_in_use(marks: tuple[str, str]) -> None:
    opening, closing = marks
    assert after_thoughts(f"{opening}is it 3?{closing}It is 4.") == "It is 4."
    assert after_thoughts(f"is it 3?{closing.upper()}It is 4.") == "It is 4."
    assert after_thoughts(f"{opening}a{closing}b{opening}c{closing}d") == "d"
    assert after_thoughts(f"{opening}It is 4.") is None
    assert after_thoughts(f"{opening}a{closing}It is 4.{opening}or 5") is None


def test_a_response_without_thoughts_is_all_answer() -> None:
    assert after_thoughts("I think it is 4 < 5.") == "I think it is 4 < 5."
    assert after_thoughts("") == ""


def test_the_marks_are_an_argument() -> None:
    marks = [("<plan>", "</plan>")]
    assert after_thoughts("<plan>3</plan>4", marks=marks) == "4"
    assert after_thoughts("<plan>3", marks=marks) is None
    assert after_thoughts("<think>3", marks=marks) == "<think>3"
    with pytest.raises(ValueError, match=r"marks = .*expected pairs"):
        after_thoughts("4", marks=[("<plan>", "")])
    assert after_thoughts("<think>3", marks=[]) == "<think>3"


def test_thoughts_that_the_prompt_has_opened_must_be_closed() -> None:
    assert after_thoughts("3?</think>4", begins_inside=True) == "4"
    assert after_thoughts("It is 4.", begins_inside=True) is None
    assert after_thoughts("<think>3?</think>4", begins_inside=True) == "4"
    assert after_thoughts("", begins_inside=True) is None


def test_a_response_that_was_read_is_never_cut_again() -> None:
    read = Response("Write <think> before you think.", "3?</plan>Write <think> before you think.")
    assert read == after_thoughts(read) == final_text(read) == "Write <think> before you think."
    assert whole_of(read).startswith("3?</plan>") and whole_of("4") == "4"
    assert type(after_thoughts(read)) is str
    open_ended = Response(None, "3?")
    assert open_ended == "" and after_thoughts(open_ended) is None and final_text(open_ended) is None


@pytest.mark.parametrize("read", [Response("4", "3?</think>4"), Response("4"), Response(None, "3?"), Response(None)])
def test_a_response_travels_with_all_that_is_known_of_it(read: Response) -> None:
    for there in (pickle.loads(pickle.dumps(read)), pickle.loads(canonical_pickle([read]))[0], copy.deepcopy(read)):
        assert type(there) is Response
        assert (there, there.whole, there.is_closed) == (read, read.whole, read.is_closed)


@pytest.mark.parametrize(
    ("template", "marks"),
    [
        ("{% if '</think>' in c %}{{ c.split('</think>')[-1] }}{% endif %}<think>\n", [("<think>", "</think>")]),
        ("{{ '\u25c1think\u25b7' }}", [("\u25c1think\u25b7", "\u25c1/think\u25b7")]),
        ("[THINK]{{ t }}[/THINK]", [("[THINK]", "[/THINK]")]),
        ("<|channel|>final<|message|>", [("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")]),
        ("<|im_start|>{{ m }}", list(THOUGHT_MARKS)),
        (None, list(THOUGHT_MARKS)),
    ],
)
def test_a_models_marks_are_those_that_its_template_shows(template: str | None, marks: list[tuple[str, str]]) -> None:
    assert list(marks_of_template(template)) == marks


@pytest.mark.parametrize("end", ["\r\n", "\r", "\u0085", "\u2028", "\u2029", "\x0c", "\x0b", "\n"])
def test_every_end_of_a_line_is_one(end: str) -> None:
    assert plain(f"a{end}b") == "a\nb"
    assert plain(f"a{end}{end}b") == "a\n\nb"


@pytest.mark.parametrize("mark", "\ufeff\u200b\u200c\u200d\u2060\u00ad\u202a\u200e\u034f")
def test_what_nobody_sees_says_nothing(mark: str) -> None:
    assert plain(f"{mark}1{mark}2{mark}") == "12"
    assert final_text(f"{mark}<think>3</th{mark}ink>4{mark}") == "4"


def test_fences_are_taken_out_and_an_unclosed_one_to_the_end() -> None:
    assert without_fences("a\n```python\nb\n```\nc") == "a\n\n\nc"
    assert without_fences("a\n~~~\nb\n```\nc\n~~~\nd") == "a\n\n\nd"
    assert without_fences("a\n```\nb") == "a\n"
    assert without_fences("a ``` b") == "a ``` b"
    assert without_fences("a\n        ```\n        b\n        ```\nc") == "a\n\n\nc"
    assert without_fences("a\n```\nb\n    ```\nb\n```\nc") == "a\n\n\nc"
    assert without_fences("a\n```\nb\n```\nc", gap=" - ") == "a\n - \nc"


def test_the_longest_responses_take_linear_time() -> None:
    for piece in ("<think>", "</think>", "<", "[", "\r", "\u200b", "```\n", "<|channel|>", "~~~", "\u25c1"):
        assert grows_linearly(lambda text: without_fences(final_text(text) or ""), piece, size=50_000), piece
