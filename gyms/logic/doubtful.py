"""Puzzles of reasoning-gym that are not asked, since their own answer is wrong or their question has two answers.

Found by solving up to a few hundred tasks of each data set a second time, with reasoning-gym 0.1.25:

- family_relationships: what is said of in-laws, nieces and nephews is what the second person is to the first, where the
  question is what the first one is to the second.
- mahjong_puzzle: a card that is drawn at random is called Pass whatever it makes, and Chi also where Peng comes first.
- syllogism: a middle term that no premise is about as a whole proves all the same ("all ants are dolphins, some
  dolphins are not spiders, so some ants are not spiders"). Where it depends on whether there are any ants at all, the
  question has two answers.
- color_cube_rotation: the bottom comes to the top about either of two axes.
- power_function: `-5.2^2` is -27.04 as formulas are read, and 27.04 here.
- simple_equations: `0 = 0`, for any value.

A stored entry of these kinds is a bad task.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["DOUBTFUL", "doubt_of"]

Entry = Mapping[str, Any]


def doubt_of(entry: Entry) -> str:
    """Why a puzzle has no one right answer that is its own; empty where nothing speaks against it."""
    metadata = entry["metadata"]
    check = DOUBTFUL.get(metadata["source_dataset"])
    try:
        return check(str(entry["answer"]).strip(), metadata) if check is not None else ""
    except (KeyError, IndexError):  # an entry that was stored without what it was made from
        return ""


def _family(answer: str, metadata: Entry) -> str:
    is_turned = answer in ("mother-in-law", "father-in-law", "niece", "nephew")
    return "its answer tells what the second person is to the first" if is_turned else ""


def _mahjong(answer: str, metadata: Entry) -> str:
    last = metadata["rounds"][-1]
    new, hand = last["add"], str(last["cards"])[:-1] + last["remove"]
    near = {ord(card) - ord(new) for card in hand}
    is_chi = any({a, b} <= near for a, b in ((-2, -1), (-1, 1), (1, 2)))
    result = "Peng" if hand.count(new) > 1 else "Chi" if is_chi else "Pass"
    return "" if answer == result else f"the last round makes {result}"


def _power(answer: str, metadata: Entry) -> str:
    is_two = metadata["base"] < 0 and metadata["exponent"] % 2 == 0
    return "a minus sign before an even power can be read in two ways" if is_two else ""


def _equation(answer: str, metadata: Entry) -> str:
    return "" if str(metadata["variable"]) in str(metadata["equation"]) else "any value solves it"


# -- a cube that is turned --------------------------------------------------------------------------------------------

_TURNS: Mapping[str, tuple[str, ...]] = {
    "front": ("top", "front", "bottom", "back"),
    "back": ("top", "back", "bottom", "front"),
    "right": ("top", "right", "bottom", "left"),
    "left": ("top", "left", "bottom", "right"),
}
"""Side that comes to the top -> four sides, each of which gets the colour of the next."""


def _cube(answer: str, metadata: Entry) -> str:
    found = {sides[metadata["target_side"]] for sides in _turned(metadata["initial_state"], metadata["rotations"])}
    return "" if found == {answer} else f"its rotations may end with {' or '.join(sorted(found))}"


def _turned(sides: Mapping[str, str], rotations: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """The colours of the sides after all rotations, for each way in which the bottom may have come to the top."""
    if not rotations:
        yield sides
        return
    first = rotations[0]
    for turn in (first,) if first != "bottom" else ("front", "right"):
        after = dict(sides)
        for _ in range(1 if turn == first else 2):
            cycle, before = _TURNS[turn], dict(after)
            after.update({side: before[cycle[(place + 1) % 4]] for place, side in enumerate(cycle)})
        yield from _turned(after, rotations[1:])


# -- what follows from two premises -----------------------------------------------------------------------------------

_STATEMENT = re.compile(r"(All|No|Some) (.+?) are (not )?(.+)")


def _syllogism(answer: str, metadata: Entry) -> str:
    texts = [str(metadata[key]) for key in ("premise1", "premise2", "conclusion")]
    read = [match.groups() for text in texts if (match := _STATEMENT.fullmatch(text)) is not None]
    terms = sorted({term for _, one, _, other in read for term in (one, other)})
    if len(read) < len(texts) or len(terms) > 3:
        return ""
    statements = [(kind, terms.index(one), bool(no), terms.index(other)) for kind, one, no, other in read]
    counter = list(_counterexamples(statements[:-1], statements[-1], len(terms)))
    follows = {"No" if counter else "Yes", "No" if any(counter) else "Yes"}
    return "" if follows == {answer} else f"{' or '.join(sorted(follows))}, as one reads it"


Statement = tuple[str, int, bool, int]
Things = Sequence[tuple[bool, ...]]
"""The kinds of things there are: what each is among the terms."""


def _counterexamples(premises: Sequence[Statement], conclusion: Statement, num_terms: int) -> Iterator[bool]:
    """For each world in which the premises hold and the conclusion does not: whether it has things of every term."""
    kinds = list(itertools.product((False, True), repeat=num_terms))
    for chosen in itertools.product((False, True), repeat=len(kinds)):
        world = list(itertools.compress(kinds, chosen))
        if all(_holds(premise, world) for premise in premises) and not _holds(conclusion, world):
            yield all(any(kind[term] for kind in world) for term in range(num_terms))


def _holds(statement: Statement, world: Things) -> bool:
    kind, one, is_negative, other = statement
    among = [thing[other] for thing in world if thing[one]]
    if kind == "Some":
        return (not is_negative) in among
    return all(among) if kind == "All" else not any(among)


DOUBTFUL: Mapping[str, Callable[[str, Entry], str]] = {
    "color_cube_rotation": _cube,
    "family_relationships": _family,
    "mahjong_puzzle": _mahjong,
    "power_function": _power,
    "simple_equations": _equation,
    "syllogism": _syllogism,
}
"""Data set -> what makes a puzzle doubtful, from its own answer and the metadata that it was made from."""
