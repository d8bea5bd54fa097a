"""What one instruction id is: its rule, its typed arguments, and the two functions that check it.

Both checks are pure functions of (text, arguments), so there is no checker object that could carry state from one item
to the next or be shared between threads. `check` is the rule as its sentence reads; `compat` reproduces what the
published checker does, flaws included, and `difference` says in one line where the two part.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from gyms.constraints.arguments import Args, NoArgs
from gyms.constraints.text import NO_SPACES

__all__ = ["Check", "Constraint", "Family", "compares", "increases", "keyword_pattern", "times", "whole_word"]

Check = Callable[[str, Any], bool]
"""(response, arguments) -> does the instruction hold. Never raises, whatever the response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One instruction id.

    Example:
        Constraint(id="my:no_z", rule="Do not use the letter z.", source="mine", check=lambda text, _: "z" not in text)
    """

    id: str
    """Published name, `group:name`."""
    rule: str
    """The instruction as its data set words it; `{name}` stands for an argument."""
    source: Literal["IFEval", "IFBench", "open-instruct"] | str
    """Where the id was published."""
    check: Check
    """The rule, as it reads."""
    args: type[Args] = NoArgs
    """Typed arguments; unknown, missing and ill-typed ones are refused."""
    compat: Check | None = None
    """What the published checker does; None where it is `check`."""
    difference: str = ""
    """Where `check` and `compat` part, in one line; empty where they agree on all that was compared."""

    def holds(self, text: str, args: Args, *, compat: bool = False) -> bool:
        """Does the instruction hold. In compat mode give the raw response, otherwise the prepared one."""
        return bool((self.compat or self.check)(text, args) if compat else self.check(text, args))


class Family:
    """The ids of one publication, each said once: a decorator on the function that checks it.

    Example:
        MINE = Family("mine")

        @MINE.id("my:no_z", "Do not use the letter z.", differs="capitals count")
        def no_z(text: str, args: NoArgs) -> bool:
            return "z" not in text.lower()
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._made: list[Constraint] = []

    def id(
        self, name: str, rule: str, args: type[Args] = NoArgs, *, published: Check | None = None, differs: str = ""
    ) -> Callable[[Check], Check]:
        """Make the decorated function the check of an id; the fields are those of `Constraint`."""

        def made(check: Check) -> Check:
            self._made.append(
                Constraint(
                    id=name, rule=rule, source=self.source, check=check, args=args, compat=published, difference=differs
                )
            )
            return check

        return made

    def __iter__(self) -> Iterator[Constraint]:
        """The constraints, in the order of the file."""
        return iter(self._made)


def compares(actual: int, relation: str, wanted: int) -> bool:
    """`less than` or `at least`."""
    return actual < wanted if relation == "less than" else actual >= wanted


def increases(numbers: Sequence[int]) -> bool:
    """Is each number above the one before it."""
    return all(earlier < later for earlier, later in pairwise(numbers))


@functools.lru_cache(maxsize=4096)
def whole_word(word: str, *, ends: bool = True) -> re.Pattern[str]:
    """A word or phrase by itself, whatever its case; works for `C++` too, where `\\b` does not.

    A script without spaces has no edges to look for: such a word is found wherever it stands.

    Args:
        ends: False also takes a longer word that starts with it (cats for cat).
    """
    word = word.strip()
    letter = rf"[^\W{NO_SPACES}]"
    before = "" if re.match(f"[{NO_SPACES}]", word) else f"(?<!{letter})"
    after = "" if not ends or re.search(f"[{NO_SPACES}]\\Z", word) else f"(?!{letter})"
    return re.compile(f"{before}{re.escape(word)}{after}", re.IGNORECASE)


def times(text: str, keyword: str) -> int:
    """How often a keyword stands in a text as a whole word or phrase; "art" is not in "start"."""
    return len(whole_word(keyword).findall(text)) if keyword.strip() else 0


_HARD_REGEX = re.compile(r"[*+{()|\\]|\?.*\?")


@functools.lru_cache(maxsize=4096)
def keyword_pattern(keyword: str, *, bounded: bool = False) -> re.Pattern[str]:
    r"""A keyword as the regular expression that the published checkers take it for.

    Keywords with `*`, `+`, `{`, groups, alternatives, escapes or two `?` are taken literally instead: such patterns may
    take exponential time or do not compile, and no published item has one.
    """
    edge = r"\b" if bounded else ""
    body = re.escape(keyword) if _HARD_REGEX.search(keyword) else keyword
    try:
        return re.compile(f"{edge}{body}{edge}", re.IGNORECASE)
    except re.error:
        return re.compile(f"{edge}{re.escape(keyword)}{edge}", re.IGNORECASE)
