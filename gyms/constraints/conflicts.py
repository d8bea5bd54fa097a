"""Instructions that no response can satisfy together: found when an item is read, before a policy is blamed for it.

The proofs use the facts that each rule states (rule.py):

- *needs and forbids*: what every response of one id holds and no response of the other does;
- *bounds*: a lower bound of words, sentences, letters, bullets, ... above an upper one;
- *required text* against forbidden signs and words, and against what must stand in its place;
- *first and last words*, and the language, that are not the same;
- *only responses*: where one instruction leaves a single response (copy this), those that judge it alike in any case
  and spacing are checked on it.

Only true contradictions are refused: what is merely hard, or pointless, stays. One proof is by meaning and not by
check: a response in two languages is refused, though a few words may pass for both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

from gyms.constraints.marks import DOUBLE_QUOTES
from gyms.constraints.rule import Bound, Constraint, Instruction, Item, Quantity, at_least
from gyms.constraints.text import plain_words, stripped, whole_word

__all__ = ["contradiction", "exclusion"]

NEEDS = {
    "comma": "it needs a comma",
    "dot": "it needs a dot",
    "exclamation": "it needs an exclamation mark",
    "capital": "it needs capital letters",
    "lower-case": "it needs lower-case letters",
    "space": "it needs white space",
    "json": "it cannot be one JSON value",
}
"""What an id may need and another forbid, and what is said of the two."""
_SIGNS = {"comma": ",", "dot": ".", "exclamation": "!", "space": " "}
_JSON, _QUOTED = "detectable_format:json_format", "startend:quotation"
_SECTIONS, _REPEATED, _ENDING = (
    "detectable_format:multiple_sections",
    "combination:repeat_prompt",
    "startend:end_checker",
)
_LETTERS = re.compile(r"[^\W_]+")


class _Needed(NamedTuple):
    """Text that an instruction requires."""

    by: Instruction
    text: str
    times: int
    is_literal: bool
    """Spaces count as given; elsewhere any white space stands for another."""

    def surely(self, word: str) -> int:
        """How often a word stands in every response that has the text: not where a letter may join the two."""
        word = word.strip()
        if not word or not (self.is_literal or len(word.split()) == 1):
            return 0
        may_go_on = self.by.constraint.may_go_on.split()
        low = 1 if "start" in may_go_on else 0
        high = len(self.text) - 1 if "end" in may_go_on else len(self.text)
        found = whole_word(word).finditer(self.text)
        return self.times * sum(low <= match.start() and match.end() <= high for match in found)


def _needed(instructions: Iterable[Instruction]) -> list[_Needed]:
    return [
        _Needed(one, text, number, kind == "keywords")
        for one in instructions
        for kind in ("keywords", "texts")
        for text, number in one.fact(kind)
    ]


def contradiction(item: Item) -> str | None:
    """Why no response can satisfy all instructions of an item, in one line; None where nothing is proved."""
    for find in (_excluded, _unmet_bounds, _languages, _required_text, _fixed_words, _fixed_response):
        if found := find(item.instructions):
            return found
    return None


def exclusion(one: Constraint, other: Constraint) -> str | None:
    """Why two ids can never hold together, whatever their arguments; None where they can."""
    if stated := one.excludes.get(other.id) or other.excludes.get(one.id):
        return stated
    for needs, forbids in ((one.needs, other.forbids), (other.needs, one.forbids)):
        for name in needs.split():
            if name in forbids.split():
                return NEEDS.get(name, f"it needs {name}")
    return None


def _excluded(instructions: tuple[Instruction, ...]) -> str | None:
    for one, other in combinations(instructions, 2):
        if why := exclusion(one.constraint, other.constraint):
            return f"{one.id} and {other.id} ({why})"
    return None


def _unmet_bounds(instructions: tuple[Instruction, ...]) -> str | None:
    """The first quantity whose lower bound lies above its upper one."""
    lows: dict[Quantity, tuple[int, str]] = {"words": (0, "any response"), "sentences": (0, "any response")}
    highs: dict[Quantity, tuple[int, str]] = {}
    for name, (quantity, low, high) in _all_bounds(instructions):
        if low > lows.get(quantity, (-1, ""))[0]:
            lows[quantity] = (low, name)
        if high is not None and high < highs.get(quantity, (high + 1, ""))[0]:
            highs[quantity] = (high, name)
    lows["words"] = max(lows["words"], lows["sentences"], key=lambda bound: bound[0])
    for quantity, (high, above) in highs.items():
        low, below = lows.get(quantity, (0, "any response"))
        if low > high:
            told = quantity if isinstance(quantity, str) else f"{quantity[0]} {quantity[1]!r}"
            return f"{below} needs at least {low} of {told}, {above} allows at most {max(high, 0)}"
    return None


def _all_bounds(instructions: Iterable[Instruction]) -> Iterator[tuple[str, Bound]]:
    """(id, bound): those that are stated, and what the required text adds to them."""
    stated = [(one.id, bound) for one in instructions for bound in one.fact("bounds")]
    yield from stated
    limited = {quantity for _id, (quantity, _low, high) in stated if high is not None and not isinstance(quantity, str)}
    for needed in _needed(instructions):
        name, text = needed.by.id, needed.text
        yield name, at_least("words", len(plain_words(text)))
        yield name, at_least("letters", sum(letter.isascii() and letter.isalpha() for letter in text))
        for kind, what in limited:
            least = needed.times * text.lower().count(what) if kind == "the letter" else needed.surely(what)
            yield name, at_least((kind, what), least)


def _languages(instructions: tuple[Instruction, ...]) -> str | None:
    wanted: dict[str, str] = {}
    for one in instructions:
        if language := one.fact("language"):
            wanted["zh" if language.lower().startswith("zh") else language.lower()] = one.id
    if len(wanted) > 1:
        return "the entire response should be in " + " and in ".join(f"{one} ({name})" for one, name in wanted.items())
    return None


def _required_text(instructions: tuple[Instruction, ...]) -> str | None:
    needed = _needed(instructions)
    ids = {one.id for one in instructions}
    for one in instructions:
        signs = [_SIGNS[name] for name in one.constraint.forbids.split() if name in _SIGNS]
        for other in needed:
            found = [sign for sign in signs if sign in " ".join(other.text.split())]
            found += [word for word in one.fact("forbidden") if other.surely(word)]
            if found:
                return f"{other.by.id} needs {other.text!r:.80}, {one.id} forbids {found[0]!r}"
    return next((found for other in needed if (found := _misplaced(other.by, other.text, ids))), None)


def _misplaced(one: Instruction, text: str, ids: set[str]) -> str | None:
    """Required text that cannot stand where or as it must."""
    if one.id == _SECTIONS:
        cased = {"change_case:english_lowercase": text.lower(), "change_case:english_capital": text.upper()}
        for name in ids & {name for name in cased if cased[name] != text}:
            return f"the section mark {text!r} of {one.id} is against {name}"
    if one.id == _REPEATED and _QUOTED in ids and text[0] not in DOUBLE_QUOTES:
        return f"{_QUOTED} needs a quotation mark where {_REPEATED} needs the request"
    if one.id == _REPEATED and _JSON in ids and text[0] not in '{[`"':
        return f"{_JSON} cannot start with the request that is to be repeated"
    if one.id == _ENDING and _JSON in ids and text[-1] not in "}]`":
        return f"{_JSON} cannot end in {text!r:.80}"
    return None


def _fixed_words(instructions: tuple[Instruction, ...]) -> str | None:
    fixed: dict[str, dict[str, str]] = {"first": {}, "last": {}}
    for what, found in fixed.items():
        for one in instructions:
            if word := one.fact(what):
                found[stripped(word).lower()] = one.id
        if len(found) > 1:
            return f"the {what} word must be " + " and ".join(f"{word!r} ({name})" for word, name in found.items())
    openings = {**fixed["first"], **{one.fact("opening"): one.id for one in instructions if one.fact("opening")}}
    letters = {run[0].lower(): (word, openings[word]) for word in openings if (run := _LETTERS.search(word))}
    if len(letters) > 1:
        return "the first word must be " + " and ".join(f"{word!r} ({name})" for word, name in letters.values())
    ends = [*fixed["first"], *fixed["last"]]
    if len(set(ends)) > 1 and any(one.id == "keywords:start_end" for one in instructions):
        return f"keywords:start_end wants one word at both ends, which must be {ends}"
    return None


def _fixed_response(instructions: tuple[Instruction, ...]) -> str | None:
    for one in instructions:
        others = [other for other in instructions if other is not one and other.fact("folds")]
        failing = [_failing(others, text) for text in one.fact("only")]
        if failing and all(failing):
            return f"{one.id} leaves one response, and {failing[0]} fails on it"
    return None


def _failing(instructions: Iterable[Instruction], response: str) -> str | None:
    return next((one.id for one in instructions if not one.accepts(response.strip())), None)
