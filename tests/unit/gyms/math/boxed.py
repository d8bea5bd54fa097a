"""What tests of math ask of many answers at once."""

from __future__ import annotations

from collections.abc import Iterable

from gyms.math.verify import verify

__all__ = ["verdicts"]


def verdicts(gold: str, answers: Iterable[str]) -> dict[str, bool]:
    """Whether each answer, in a box, is right."""
    return {answer: verify(gold, rf"\boxed{{{answer}}}").is_right for answer in answers}
