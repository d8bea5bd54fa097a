"""Judged by sympy as a second method, and by symmetry. Published answers are in tests/oracles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.api import Status
from gyms.math.read import read
from gyms.math.scalars import same_value
from gyms.math.tree import Node
from gyms.math.verify import verify

# --- sympy as a second method: its own arithmetic on the same tree, built node by node

NUMBERS = st.integers(-12, 12).map(lambda n: f"({n})")
ATOMS = st.one_of(
    NUMBERS, st.sampled_from(["x", "y", r"\pi", "i", r"\sqrt{2}", r"\sqrt{3}", r"\sqrt{12}", r"\frac{2}{3}"])
)
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: f"({p[0]}+{p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]}-{p[1]})"),
        st.tuples(inner, inner).map(lambda p: rf"({p[0]}\cdot {p[1]})"),
        st.tuples(inner, st.integers(1, 3)).map(lambda p: f"({p[0]})^{{{p[1]}}}"),
        st.tuples(inner, st.integers(1, 9)).map(lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}"),
    ),
    max_leaves=6,
)


def as_sympy(node: Node) -> Any:
    sympy = pytest.importorskip("sympy")
    parts = [as_sympy(part) for part in node.args]
    if node.op == "num":
        return sympy.Rational(node.value.numerator, node.value.denominator)
    if node.op == "sym":
        return {"pi": sympy.pi, "i": sympy.I, "e": sympy.E}.get(node.value, sympy.Symbol(node.value))
    return {
        "add": lambda: sympy.Add(*parts),
        "mul": lambda: sympy.Mul(*parts),
        "neg": lambda: -parts[0],
        "div": lambda: parts[0] / parts[1],
        "pow": lambda: parts[0] ** parts[1],
        "root": lambda: sympy.root(parts[0], parts[1]),
        "mixed": lambda: parts[0] + parts[1],
    }[node.op]()


@settings(deadline=None, max_examples=35)
@given(TREES, TREES)
def test_equality_agrees_with_sympy(left: str, right: str) -> None:
    sympy = pytest.importorskip("sympy")
    a, b = read(left), read(right)
    assert same_value(a, b) == same_value(b, a) == (sympy.expand(as_sympy(a) - as_sympy(b)) == 0)


@settings(deadline=None, max_examples=35)
@given(TREES)
def test_an_expression_equals_what_sympy_makes_of_it(text: str) -> None:
    sympy = pytest.importorskip("sympy")
    tree = read(text)
    assert same_value(tree, read(sympy.latex(sympy.expand(as_sympy(tree)))))
    assert not same_value(tree, Node("add", (tree, read("10^{-20}"))))


# --- whole numbers: every expression twice, as LaTeX in one of two equal ways of writing and as a function of n


Whole = tuple[str, str, Callable[[int], int]]
"""One way to write an expression, another, and its value at a whole number."""


def whole_of(inner: Whole, bottom: int, *, is_floor: bool) -> Whole:
    """The whole part of a fraction; of whole numbers, floor(a/b) is ceil((a-b+1)/b)."""
    first, second, value = inner
    floor = rf"\lfloor\frac{{{first}}}{{{bottom}}}\rfloor", rf"\lfloor\frac{{{second}+{bottom - 1}}}{{{bottom}}}\rfloor"
    ceil = rf"\lceil\frac{{{second}-{bottom - 1}}}{{{bottom}}}\rceil", rf"\lceil\frac{{{first}}}{{{bottom}}}\rceil"
    if is_floor:
        return floor[0], ceil[0], lambda n: value(n) // bottom
    return ceil[1], floor[1], lambda n: -(-value(n) // bottom)


def sign_of(inner: Whole) -> Whole:
    first, second, value = inner
    return f"(-1)^{{{first}}}", rf"\cos\left(({second})\pi\right)", lambda n: 1 - 2 * (value(n) % 2)


def joined(left: Whole, right: Whole, *, is_sum: bool) -> Whole:
    (a, b, f), (c, d, g) = left, right
    if is_sum:
        return f"({a}+{c})", f"({d}+{b})", lambda n: f(n) + g(n)
    return rf"({a}\cdot {c})", rf"({d}\cdot {b})", lambda n: f(n) * g(n)


N: Whole = ("n", "n", lambda n: n)
WHOLES = st.recursive(
    st.one_of(st.just(N), st.integers(-4, 4).map(lambda c: (f"({c})", f"({c})", lambda _n: c))),
    lambda inner: st.one_of(
        st.builds(joined, inner, inner, is_sum=st.booleans()),
        st.builds(whole_of, inner, st.sampled_from([2, 3]), is_floor=st.booleans()),
        inner.map(sign_of),
    ),
    max_leaves=3,
)


@settings(deadline=None, max_examples=60)
@given(WHOLES, st.integers(-1, 1), st.booleans())
def test_two_ways_to_write_a_function_of_whole_numbers_are_equal_and_its_neighbours_are_not(
    drawn: Whole, shift: int, is_added: bool
) -> None:
    first, second, value = whole_of(joined(drawn, N, is_sum=True), 2, is_floor=True)  # a letter for whole numbers
    assert same_value(read(first), read(second)) and same_value(read(second), read(first))
    near = (f"{first}+{shift}", lambda n: value(n) + shift) if is_added else (
        first.replace("n", f"(n+{shift})"), lambda n: value(n + shift)
    )  # fmt: skip
    is_equal = all(value(n) == near[1](n) for n in range(-200, 400))
    assert same_value(read(near[0]), read(second)) == is_equal


@settings(deadline=None, max_examples=60)
@given(WHOLES, WHOLES)
def test_no_two_functions_of_whole_numbers_are_equal_that_differ_somewhere(left: Whole, right: Whole) -> None:
    if same_value(read(left[0]), read(right[1])):
        assert all(left[2](n) == right[2](n) for n in range(-200, 400))


SYMMETRIC = [
    "5",
    "1/3",
    r"\sqrt2",
    r"\{1,2\}",
    "1, 2",
    "2, 1",
    "(0,1)",
    "[0,1)",
    "0<x<1",
    r"0 \le x < 1",
    r"(0,1)\cup(2,3)",
    r"(2,3)\cup(0,1)",
    "x=5",
    "y=2x+3",
    "2x-y+3=0",
    "x+1",
    "1+x",
    r"\emptyset",
    r"\text{no solution}",
    r"\infty",
    "DNE",
    "(1,2)",
    "3:4",
    r"\frac34",
    r"\mathbb{R}",
    r"(-\infty,\infty)",
    r"x\ne 2",
    r"(-\infty,2)\cup(2,\infty)",
    r"\begin{pmatrix}1\\2\end{pmatrix}",
    "5 m",
    "500 cm",
    r"3\pm1",
    "4, 2",
    r"\text{yes}",
    "B",
    "12:00",
    "1+2i",
]


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(SYMMETRIC), st.sampled_from(SYMMETRIC))
def test_types_without_order_are_symmetric(left: str, right: str) -> None:
    """But for forms: an answer may be plain where the gold answer is symbolic, not the other way round."""
    forward, backward = verify(left, rf"\boxed{{{right}}}"), verify(right, rf"\boxed{{{left}}}")
    assert forward.is_right == backward.is_right or "unevaluated" in forward.flags | backward.flags


@settings(deadline=None, max_examples=100)
@given(st.integers(-(10**12), 10**12), st.integers(2, 9999))
def test_every_way_to_write_a_number_is_read(number: int, bottom: int) -> None:
    for text in (f"{number}", f"{number:,}", f"{number}.0", f"${number}$", f"{number} apples", rf"\text{{{number}}}"):
        assert verify(str(number), rf"\boxed{{{text}}}").is_right, text
    fraction = f"{number}/{bottom}"
    assert verify(fraction, rf"\boxed{{\frac{{{number}}}{{{bottom}}}}}").is_right or number % bottom == 0
    assert not verify(str(number), rf"\boxed{{{number + 1}}}").is_right
    assert verify(str(number), rf"\boxed{{{number}}}").status is Status.OK
