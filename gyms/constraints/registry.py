"""All instruction ids by name: the 112 that are built in, and those that other packages offer.

A package offers ids in the entry-point group `reward_constraints`: each entry is `Rules`, a `Constraint` or a sequence
of them, under any name. Entries are imported at the first look-up of an id that is not built in, in each process once;
an id that is offered twice, or that is built in, is an error that names the offer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from types import MappingProxyType

from gyms.constraints.rule import Constraint
from gyms.constraints.rules import copies, counts, keywords, layout, signs, tasks, words

__all__ = ["BUILT_IN", "ENTRY_POINT_GROUP", "find", "known_ids"]

ENTRY_POINT_GROUP = "reward_constraints"
BUILT_IN: Mapping[str, Constraint] = MappingProxyType(
    {one.id: one for rules in (keywords, counts, layout, signs, words, copies, tasks) for one in rules.RULES}
)


def find(instruction_id: str) -> Constraint | None:
    """The constraint of an id, or None where nobody offers it."""
    return BUILT_IN.get(instruction_id) or _offered().get(instruction_id)


def known_ids() -> list[str]:
    """All ids, sorted."""
    return sorted({*BUILT_IN, *_offered()})


@lru_cache(maxsize=1)
def _offered() -> Mapping[str, Constraint]:
    found: dict[str, Constraint] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        offer = entry.load()
        for constraint in (offer,) if isinstance(offer, Constraint) else tuple(offer):
            told = f"entry point {entry.name!r} ({entry.value}) offers"
            if not isinstance(constraint, Constraint):
                raise ValueError(f"{told} {constraint!r}, not a Constraint")
            if constraint.id in BUILT_IN or constraint.id in found:
                raise ValueError(f"{told} the id {constraint.id!r}, which is taken; choose another id")
            found[constraint.id] = constraint
    return MappingProxyType(found)
