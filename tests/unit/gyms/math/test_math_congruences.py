"""Classes of residues answer for each other, and for nothing else."""

from __future__ import annotations

import pytest

from gyms.math.verify import verify

SAME = [
    (r"x \equiv 7 \pmod{11}", "x = 7 + 11k"),
    (r"x \equiv 7 \pmod{11}", "7 + 11t"),
    (r"x \equiv 7 \pmod{11}", r"x = 7 + 11s, s \in \mathbb{Z}"),
    (r"x \equiv 7 \pmod{11}", r"x \equiv 18 \equiv 7 \pmod{11}"),
    (r"x \equiv 7 \pmod{11}", r"-4 \pmod{11}"),
    (r"7 \pmod{11}", r"y \equiv 7 \pmod{11}"),
    (r"x = 7 + 11k, k \in \mathbb{Z}", r"x \equiv 7 \pmod{11}"),
    (r"7 + 11s, s \in \mathbb{Z}", r"18 \pmod{11}"),
    ("7", r"7 \pmod{11}"),
    ("7", r"x \equiv 7 \pmod{11}"),
    ("0", r"0 \pmod{2}"),
    (r"x^2 \equiv 1 \pmod{8}", r"x^2 \equiv 1 \pmod 8"),
    (r"x \equiv \frac{\pi}{4} \pmod{2\pi}", r"x \equiv \frac{\pi}{4} \pmod{2\pi}"),
]
OTHER = [
    # a formula is no class, whatever its coefficients
    ("y = 3x + 2", r"2 \pmod{3}"),
    ("5x+3", r"-2 \pmod 5"),
    ("2x+3", r"1 \pmod{2}"),
    ("2k+3", r"1 \pmod{2}"),
    ("x", r"5 \pmod{1}"),
    ("x", r"0 \pmod{1}"),
    (r"y=\frac{x}{2}+3", r"3 \pmod{0.5}"),
    ("x = 7 + 11k", r"x \equiv 7 \pmod{11}"),
    (r"x \equiv 7 \pmod{11}", "y = 7 + 11x"),
    (r"x \equiv 7 \pmod{11}", "x = 7 + 11x"),
    (r"x \equiv 7 \pmod{11}", "7 + 11a"),
    (r"x \equiv 7 \pmod{11}", "7 + 11k^2"),
    (r"x \equiv 7 \pmod{11}", "7 + 11jk"),
    # a number is its least residue, and an equation none
    ("7", r"7 \pmod{2}"),
    ("7", r"7 \pmod{3}"),
    ("7", r"7 \pmod{7}"),
    ("7", r"18 \pmod{11}"),
    ("-4", r"-4 \pmod{11}"),
    ("7", "7 + 11k"),
    ("x = 7", r"x \equiv 7 \pmod 3"),
    ("x = 7", r"x \equiv 7 \pmod{11}"),
    (r"\frac{1}{2}", r"\frac{1}{2} \pmod 3"),
    # another class
    (r"x \equiv 7 \pmod{11}", r"y \equiv 7 \pmod{11}"),
    (r"x \equiv 7 \pmod{11}", "y = 7 + 11k"),
    (r"x \equiv 7 \pmod{11}", r"x \equiv 8 \equiv 7 \pmod{11}"),
    (r"x \equiv 7 \pmod{11}", r"x = 7 + 11k, k \in \mathbb{N}"),
    (r"x \equiv 7 \pmod{11}", r"x \equiv 7 \pmod{22}"),
    (r"x \equiv 7 \pmod{11}", "x = 7 + 5.5k"),
    (r"x^2 \equiv 1 \pmod{8}", r"x \equiv 1 \pmod{8}"),
    (r"x^2 \equiv 1 \pmod{8}", "x^2 = 1"),
    ("x^2 = 1", r"x^2 \equiv 1 \pmod{8}"),
]


@pytest.mark.parametrize(("gold", "answer"), SAME)
def test_one_class_of_residues_is_read_in_every_notation(gold: str, answer: str) -> None:
    assert verify(gold, rf"\boxed{{{answer}}}").is_right


@pytest.mark.parametrize(("gold", "answer"), OTHER)
def test_a_congruence_answers_nothing_but_its_class(gold: str, answer: str) -> None:
    assert not verify(gold, rf"\boxed{{{answer}}}").is_right
