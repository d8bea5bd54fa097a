"""Hostile answers cost little, whatever they hold; any string gets the same score everywhere.

Cost is the number of calls, which is the same on every machine; a number that is really computed, `9**9**9**9`, would
never end. How many milliseconds that is says `python -m benchmarks.math_scoring`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.api import Status
from gyms.math.exact import rational
from gyms.math.read import read, read_plain
from gyms.math.tree import MAX_ANSWER_CHARS, Node, Unreadable, walk
from gyms.math.verify import AnswerCheck, verify
from gyms.math.whole import MAX_FACTORIAL_TRIED, MAX_FAILED, agree_on_integers
from tests.growth import num_calls

BOMBS = [
    "9**9**9**9",
    "9^{9^{9^9}}",
    "10^{10^{10}}",
    "1000000000!",
    r"\binom{10^9}{5\cdot10^8}",
    r"(((2^{99999})^{99999})^{99999})",
    "1e999999999",
    "(" * 900 + "1" + ")" * 900,
    "((((" * 2000,
    "x^{" * 300 + "}" * 300,
    r"\sqrt{" * 300 + "2" + "}" * 300,
    "9" * 1500,
    "9" * 100_000,
    "{" * 1500,
    r"\frac{" * 250,
    r"3000!\cdot3000!",
    "5!!!!!!!!!!",
    "2^{2^{2^{2^{2^{2}}}}}",
    r"\sqrt{" + "9" * 390 + "}",
    "9^" * 500 + "9",
    r"\sum_{" * 200,
    "!" * 1000,
    "+".join(["1"] * 900),
    "1,1" * 400,
    "10^{-10^{10}}",
    "(1/3)^{10^{9}}",
    r"\left(" * 300,
]
HEAVY = [
    r"\prod_{k=1}^{10^7}k",
    r"\sum_{n=1}^{10^9} n",
    "(x+y+z+w)^{40}",
    "(a+b)^{1000}",
    "(1+x)" * 30,
    "+".join([r"\sin x"] * 60),
    "e^{e^{e^{e^{100}}}}",
    r"\sin(10^{4000})",
    "x^{10^9}",
    "+".join(["x"] * 190),
    r"\{" + ",".join(rf"\sqrt{{{i}}}+\pi" for i in range(60)) + r"\}",
    r"\cup".join(rf"({i},{i}.5)" for i in range(60)),
    ",".join([r"\sin x+\cos y"] * 30),
    r"\int_0^1 x^x e^{x^2}dx",
    r"\sqrt{2+" * 20 + "2" + "}" * 20,
    "(" + "+".join(f"x_{i}" for i in range(90)) + ")^2",
    r"\tan(" * 20 + "x" + ")" * 20,
    "x/(1+" * 20 + "x" + ")" * 20,
    "2^{0.333333333333333333}",
    r"\frac{1}{x+" * 20 + "x" + "}" * 20,
    "1/(1-1)",
    "0^0",
    r"\log 0",
    "7^{1/" + "9" * 300 + "}",
]
GOLDS = [
    r"(-1)^n",
    r"\lfloor n/2 \rfloor + m",
    r"\binom{n}{k}",
    "391",
    "x+1",
    r"\{1,2\}",
    r"(0,\sqrt2)",
    r"\sin^2 x",
    r"\sqrt{2+\sqrt3}",
    r"\begin{pmatrix}1\\2\end{pmatrix}",
    r"\text{yes}",
    "5 m",
    "1, 2",
]


TO_REFUSE = 5_000
"""Most calls to see that a number is too large: twice what an honest `\\sqrt{2+\\sqrt3}` costs."""
TO_READ = 100_000
"""Most calls for an answer that has to be read to its end: three times the worst of `BOMBS`."""
TO_COMPARE = 500_000
"""Most calls for an answer that is compared by values: three times the worst of `HEAVY`."""


def cost(gold: str, answer: str) -> tuple[AnswerCheck, int]:
    """The verdict and its calls, without what was read before."""
    found: list[AnswerCheck] = []
    read_plain.cache_clear()
    calls = num_calls(lambda: found.append(verify(gold, rf"\boxed{{{answer}}}")))
    return found[0], calls


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb[:20])
def test_a_bomb_is_refused_at_once(bomb: str) -> None:
    verdict, calls = cost("391", bomb)
    assert verdict.status in (Status.TOO_COMPLEX, Status.INVALID_ANSWER, Status.NO_ANSWER) or not verdict.is_right
    assert calls < TO_READ


def test_a_power_tower_is_refused_as_too_complex_before_anything_is_computed() -> None:
    for tower in ("9**9**9**9", "9^{9^{9^9}}", "10^{10^{10}}", "1000000000!"):
        verdict, calls = cost("391", tower)
        assert verdict.status is Status.TOO_COMPLEX
        assert calls < TO_REFUSE


@pytest.mark.parametrize("answer", HEAVY, ids=lambda answer: answer[:20])
def test_heavy_answers_cost_little_against_any_gold(answer: str) -> None:
    for gold in GOLDS[:6]:
        verdict, calls = cost(gold, answer)
        assert not verdict.is_right and not verdict.status.is_masked
        assert calls < TO_COMPARE, gold


def test_points_without_a_value_are_given_up_and_long_factorials_never_computed() -> None:
    asked: list[Node] = []

    def has_none(left: Node, right: Node) -> bool:
        asked.append(right)
        raise Unreadable("no value")

    assert not agree_on_integers(read("(-1)^n"), read("n+1"), same=has_none)
    assert len(asked) == MAX_FAILED + 1
    asked.clear()

    def agrees(left: Node, right: Node) -> bool:
        asked.append(right)
        return True

    for long in ("(12n)!", "((n)!)!", "((12n)!)!", "_{12n}P_2"):
        assert not agree_on_integers(read("(-1)^n"), read(long), same=agrees)
    numbers = {rational(part.args[0]) for node in asked for part in walk(node) if part.op == "fact" or part.op == "fn"}
    assert numbers and max(number for number in numbers if number is not None) <= MAX_FACTORIAL_TRIED


def test_long_factorials_cost_no_more_than_short_ones() -> None:
    bomb = r"(12n)!+(12n-1)!+(12n-2)!+(12n-3)!+\frac{n}{60}+\frac{1}{(-1)^{2n}-1}"
    verdict, calls = cost("(-1)^n", bomb)
    assert not verdict.is_right and calls < 2 * cost("(-1)^n", r"\cos n\pi")[1]


SIGNS = [
    *"0123456789+-*/^_(){}[]|<>=,;:!%&'.xyzie $",
    "\\frac",
    "\\sqrt",
    "\\pi",
    "\\infty",
    "\\text{",
    "\\{",
    "\\}",
    "\\cup",
    "\\le",
    "\\in",
    "\\sin ",
    "\\log_",
    "^\\circ",
    "\\pm",
    "\\cdot",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "\\\\",
    "\\sum_{",
    "\\binom",
    "\\boxed{",
    "cm",
    "km/h",
    " and ",
    " or ",
    "\\%",
    "\\$",
    "\u00bd",
    "\u2212",
    "\u00b2",
    "\ud800",
    "\x00",
    "\u0661",
    "\\overline{",
    "\\left(",
    "\\right)",
    "10^",
    "!",
    "\\mathbb{R}",
    "\\setminus",
    "\\emptyset",
    "no solution",
    "\\langle",
    "\\rangle",
    "\\bmod",
    "0.",
    "e5",
    "\\ln",
    "(-1)^n",
    "\\lfloor n/3\\rfloor",
    "\\cos n\\pi",
    "_7C_3",
    "C_7^3",
    "n!!",
    "\\Rightarrow",
    "(or ",
    "...",
]
wild = st.lists(st.sampled_from(SIGNS), max_size=40).map("".join)


@settings(deadline=None, max_examples=120)
@given(wild, st.sampled_from(GOLDS))
def test_any_answer_gets_a_verdict_at_a_bounded_cost(answer: str, gold: str) -> None:
    verdict, calls = cost(gold, answer)
    assert calls < TO_COMPARE
    assert not verdict.status.is_masked
    assert verify(gold, rf"\boxed{{{answer}}}") == verdict


def closes_what_it_opens(text: str) -> bool:
    text = re.sub(r"\\.", "", text)  # an escaped brace is a character
    depth = [text[:end].count("{") - text[:end].count("}") for end in range(len(text) + 1)]
    return min(depth) == depth[-1] == 0


@settings(deadline=None, max_examples=80)
@given(wild)
def test_any_gold_answer_that_can_be_read_verifies_itself(gold: str) -> None:
    verdict = verify(gold, gold if "boxed" in gold else rf"\boxed{{{gold}}}")
    if closes_what_it_opens(gold):  # else the box around it ends elsewhere
        assert verdict.status is Status.BAD_TASK or verdict.is_right
    else:
        assert not verdict.status.is_masked or verdict.status is Status.BAD_TASK


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=300))
def test_any_text_is_survived(text: str) -> None:
    assert not verify("5", text, question="What is 2 + 3?").status.is_masked
    assert not verify("5", rf"\boxed{{{text}}}").status.is_masked
    verify(text, r"\boxed{5}")


def test_answers_of_the_longest_length_stay_cheap() -> None:
    for piece in SIGNS:
        text = (piece * MAX_ANSWER_CHARS)[: MAX_ANSWER_CHARS - 1]
        for gold in ("391", r"(0,\sqrt2)"):
            verdict, calls = cost(gold, text)
            assert not verdict.is_right and calls < TO_COMPARE, piece


def test_verdicts_are_the_same_in_threads() -> None:
    cases = [(gold, answer) for gold in GOLDS for answer in (*HEAVY[:4], *GOLDS)]
    expected = [verify(gold, rf"\boxed{{{answer}}}") for gold, answer in cases]
    found: dict[int, list[AnswerCheck]] = {}

    def run(number: int) -> None:
        found[number] = [verify(gold, rf"\boxed{{{answer}}}") for gold, answer in cases]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 3


def test_verifying_imports_no_evaluator_and_sets_no_signal() -> None:
    code = (
        "import signal, sys; before = [signal.getsignal(s) for s in (signal.SIGALRM, signal.SIGTERM)]\n"
        "from gyms.math.verify import verify\n"
        "assert verify('391', r'\\boxed{391}').is_right and verify('x+1', r'\\boxed{1+x}').is_right\n"
        "assert [signal.getsignal(s) for s in (signal.SIGALRM, signal.SIGTERM)] == before\n"
        "assert not {'sympy', 'torch', 'ray', 'datasets', 'math_verify'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
