"""Expressions that agree on one stretch of the line only: absolute values, roots, floors, far from 0."""

from __future__ import annotations

import pytest

from gyms.math.verify import verify


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("|x-14|", "14-x"),
        ("|x+900|", "x+900"),
        ("|x-0.02|", "x-0.02"),
        ("|3x-120|", "120-3x"),
        ("|x-70000|", "70000-x"),
        ("|x-4|+|x-24|", "28-2x"),
        ("|x-4|+|x-24|", "20"),
        (r"\sqrt{(x-31)^2}", "31-x"),
        (r"\left((x-31)^2\right)^{1/2}", "31-x"),
        (r"\lfloor y\rfloor", r"\lceil y\rceil-1"),
        (r"\lfloor y\rfloor+1", r"\lceil y\rceil"),
        (r"\left\lfloor\frac{n}{4}\right\rfloor", r"\left\lceil\frac{n}{4}\right\rceil-1"),
        (r"\lfloor y+\frac12\rfloor", r"\lceil y-\frac12\rceil"),
        (r"|a-b|", "a-b"),
        (r"|a|+|b|", "|a+b|"),
    ],
)
def test_what_agrees_on_a_stretch_is_not_the_same(left: str, right: str) -> None:
    assert not verify(left, rf"\boxed{{{right}}}").is_right
    assert not verify(right, rf"\boxed{{{left}}}").is_right


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("|x-14|", "|14-x|"),
        ("|3x-120|", "3|x-40|"),
        (r"\sqrt{(x-31)^2}", "|x-31|"),
        (r"\lceil y\rceil", r"-\lfloor -y\rfloor"),
        (r"\lfloor y+7\rfloor", r"\lfloor y\rfloor+7"),
        (r"\ln x^2", r"2\ln x"),
        (r"\cosh^2 x-\sinh^2 x+|x|", "1+|x|"),
        (r"\frac{1}{\sqrt{x+1}+\sqrt x}", r"\sqrt{x+1}-\sqrt x"),
        ("|a-b|", "|b-a|"),
        (r"\sqrt{a^2+4000}", r"\sqrt{4000+a^2}"),
    ],
)
def test_what_agrees_everywhere_is(left: str, right: str) -> None:
    assert verify(left, rf"\boxed{{{right}}}").is_right
    assert verify(right, rf"\boxed{{{left}}}").is_right
