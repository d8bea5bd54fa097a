"""Every pattern that reads an answer takes time in proportion to its length, whatever the answer holds.

Calls are counted elsewhere (`test_math_bombs`); the time within a regular expression is no call, so it is measured by
growth: the same shape at one length and at sixteen times that length.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from gyms.api import Status
from gyms.math.choices import choice_of, last_claim
from gyms.math.normal import literal, normalise
from gyms.math.remarks import split_qualifier, without_remarks
from gyms.math.tokens import tokenise
from gyms.math.tree import MAX_ANSWER_CHARS, Unreadable
from gyms.math.verify import verify
from tests.growth import grows_linearly

SIZE = 600
SHAPES: dict[str, Callable[[int], str]] = {
    "letters and spaces before a conjunction": lambda n: r"\text{" + "a" * n + " " * n + "x} or",
    "commas before a conjunction": lambda n: r"\text{a" + " ," * n + "x} or",
    "conjunctions": lambda n: r"\text{" + "a and " * n + "x}",
    "thin spaces before no end sign": lambda n: "5" + r"\," * n + "x",
    "thin spaces before an end sign": lambda n: r"\," * n + r"\checkmark",
    "end signs": lambda n: "5" + r"\square" * n + "x",
    "row ends": lambda n: "5" + r" \\" * n + "x",
    "row ends at the end": lambda n: "5" + r" \\" * n,
    "rows with brackets": lambda n: r"\\[" * n,
    "infix fractions": lambda n: "{" + r"\over " * n,
    "infix fractions in braces": lambda n: "{" * n + r"\over " + "}" * n,
    "system braces": lambda n: r"\{\begin{array}" * n,
    "system braces that are closed": lambda n: r"\{\begin{array}\}" * n + "x",
    "quotes and dots": lambda n: "x" + '".' * n,
    "loud factorials": lambda n: "x" + '"!!' * n,
    "a base behind spaces": lambda n: "1_{" + r"\," * n + "x",
    "a unit behind spaces": lambda n: "1" + r"\,(" * n + "cm",
    "degrees behind spaces": lambda n: r"5\deg" + r"\," * n + "x",
    "ordinals": lambda n: "5^" + r"\,{" * n + "th",
    "turned brackets": lambda n: "]" + "(,;" * n + r"[\cup",
    "turned lists": lambda n: "]" + ",1" * n + r"[\cup",
    "recurring digits": lambda n: "0." + "12" * n + "...",
    "recurring digits with a command": lambda n: "0." + "12" * n + r"\ldots",
    "totals": lambda n: "5 total" + "." * n + "x",
    "remarks": lambda n: "5 " + "in total. " * n + "x",
    "qualifiers": lambda n: "5 " + "for " * n + "1",
    "members": lambda n: r"x \mathbb" + ",a" * n,
    "remarks in brackets": lambda n: "5" + "(= 5" * n,
    "reasons": lambda n: "5" + "(since " * n,
    "groups of digits": lambda n: "1,111" * n + ",",
    "stacked": lambda n: r"\underbrace{a}_{" * n,
    "dollars": lambda n: "$" * n + "x",
    "bold": lambda n: "**a" * n,
    "white space": lambda n: "5" + " \t" * n + "x",
    "wide white space": lambda n: "5" + "\u00a0 " * n + "x",
}  # fmt: skip
READERS: dict[str, Callable[[str], object]] = {
    "normalise": normalise,
    "literal": literal,
    "split_qualifier": split_qualifier,
    "without_remarks": without_remarks,
    "tokenise": tokenise,
    "choice_of": choice_of,
    "last_claim": last_claim,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_pattern_costs_the_square_of_an_answers_length(shape: str) -> None:
    for name, reader in READERS.items():

        def read(text: str, reader: Callable[[str], object] = reader) -> None:
            normalise.cache_clear()
            with suppress(Unreadable):
                reader(SHAPES[shape](len(text)))

        assert grows_linearly(read, "x", size=SIZE), name


RESPONSES: dict[str, Callable[[int], str]] = {
    "spaces behind a box": lambda n: r"\boxed{5}" + " " * n + "x",
    "spaces behind a label": lambda n: "A:" + " " * n + "x",
    "tags in code behind an answer": lambda n: "<answer>5</answer>\n```\n" + "<answer>" * (n // 8) + "\n```",
    "two long lines behind hashes": lambda n: "#### 5" + r"\," * n + "x\n#### 6" + r"\," * n + "y",
    "two long texts in boxes": lambda n: rf"\boxed{{\text{{{'a' * n}}} or}}. No, \boxed{{\text{{{'b' * n}}} or}}",
    "words around a sum": lambda n: "ab " * n + "1" * n,
    "spaces before a ratio": lambda n: r"\boxed{3" + " " * n + "x}",
}


@pytest.mark.parametrize("shape", RESPONSES)
@pytest.mark.parametrize("gold", ["5", "3:4", r"\text{yes}", "(B)"])
def test_no_response_costs_the_square_of_its_length(gold: str, shape: str) -> None:
    def score(text: str) -> None:
        normalise.cache_clear()
        verify(gold, RESPONSES[shape](len(text)))

    assert grows_linearly(score, "x", size=SIZE)


@pytest.mark.parametrize("gold", ["5", "3:4", r"\text{yes}", "(B)", r"\textbf{(B)}\ 5"])
def test_an_answer_over_the_cap_is_refused_before_anything_is_read(gold: str) -> None:
    long = "5" + " " * MAX_ANSWER_CHARS + "x"
    for response in (rf"\boxed{{{long}}}", f"#### {long}", rf"\boxed{{5}}, no, \boxed{{{long}}}"):
        assert verify(gold, response).status is Status.TOO_COMPLEX
    assert verify("a" * (MAX_ANSWER_CHARS + 1), r"\boxed{5}", answer_type="text").status is Status.BAD_TASK


def test_a_long_answer_that_is_taken_back_is_forgotten_and_one_that_stands_beside_another_is_a_conflict() -> None:
    long = "x" * (MAX_ANSWER_CHARS + 1)
    assert verify("5", rf"\boxed{{{long}}}. No, it is \boxed{{5}}").is_right
    assert "conflict" in verify("5", f"#### {long}5\n#### 5").flags
