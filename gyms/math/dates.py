r"""Dates as answers: "July 4", "4 July", "the 4th of July", "Friday, July 4", "July 4, 2025", 2025-07-04.

A date is a month and a day, with the year and the day of the week where they are written; what both sides give must
agree. All-digit forms are read only as year-month-day: 3/4 is a fraction, and 4-3 a difference.
"""

from __future__ import annotations

import re

from gyms.math.tree import Node
from gyms.math.vocabulary import words

__all__ = ["read_date", "same_date"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = words("january february march april may june july august september october november december sept")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY_NAMES = words("monday tuesday wednesday thursday friday saturday sunday")
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_DAY = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?")
_YEAR = re.compile(r"\d{4}")
_TEXT = re.compile(r"\\text|[{},.]")
MAX_CHARS = 60


def read_date(plain: str) -> Node | None:
    """The date that a whole answer is, as a node with value (year, month, day, weekday), what is absent 0; or None."""
    if len(plain) > MAX_CHARS:
        return None
    iso = _ISO.fullmatch(plain)
    if iso is not None:
        return _date(int(iso[1]), int(iso[2]), int(iso[3]), 0)
    year = month = day = weekday = 0
    for word in _TEXT.sub(" ", plain).casefold().split():
        if (word in _NAMES or word in _MONTHS) and not month:
            month = _MONTHS.index(word[:3]) + 1
        elif (word in _WEEKDAY_NAMES or word in _WEEKDAYS) and not weekday:
            weekday = _WEEKDAYS.index(word[:3]) + 1
        elif (match := _DAY.fullmatch(word)) is not None and not day:
            day = int(match[1])
        elif _YEAR.fullmatch(word) and not year and month:
            year = int(word)
        elif word not in ("the", "of", "on"):
            return None
    return _date(year, month, day, weekday)


def same_date(gold: Node, answer: Node) -> bool:
    """True where month and day agree, and year and weekday where both dates give them."""
    return gold.value[1:3] == answer.value[1:3] and all(
        not one or not other or one == other for one, other in zip(gold.value, answer.value, strict=True)
    )


def _date(year: int, month: int, day: int, weekday: int) -> Node | None:
    is_date = 1 <= month <= 12 and 1 <= day <= 31
    return Node("date", (), (year, month, day, weekday)) if is_date else None
