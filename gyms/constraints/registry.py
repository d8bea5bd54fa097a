"""All instruction ids by name: the 112 that are built in, and those that other packages offer.

A package offers ids in the entry-point group `reward_constraints`: each entry is a `Constraint` or a sequence of them,
under any name. Entries are imported at the first look-up of an id that is not built in, in each process once; an id
that is offered twice, or that is built in, is an error that names the offer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from types import MappingProxyType

from gyms.constraints.constraint import Constraint
from gyms.constraints.ifbench_counts import IFBENCH_COUNTS
from gyms.constraints.ifbench_custom import IFBENCH_CUSTOM
from gyms.constraints.ifbench_formats import IFBENCH_FORMATS
from gyms.constraints.ifbench_sentences import IFBENCH_SENTENCES
from gyms.constraints.ifbench_words import IFBENCH_WORDS
from gyms.constraints.ifeval import IFEVAL
from gyms.constraints.training_forms import TRAINING_FORMS
from gyms.constraints.training_words import TRAINING_WORDS

__all__ = ["BUILT_IN", "ENTRY_POINT_GROUP", "find"]

ENTRY_POINT_GROUP = "reward_constraints"

_FAMILIES = (
    *(IFEVAL, IFBENCH_COUNTS, IFBENCH_WORDS, IFBENCH_SENTENCES, IFBENCH_FORMATS, IFBENCH_CUSTOM),
    *(TRAINING_FORMS, TRAINING_WORDS),
)
BUILT_IN: Mapping[str, Constraint] = MappingProxyType(
    {constraint.id: constraint for family in _FAMILIES for constraint in family}
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
            if not isinstance(constraint, Constraint):
                raise ValueError(f"entry point {entry.name!r} ({entry.value}) offers {constraint!r}, not a Constraint")
            if constraint.id in BUILT_IN or constraint.id in found:
                raise ValueError(
                    f"entry point {entry.name!r} ({entry.value}) offers the id {constraint.id!r}, which is taken; "
                    f"choose another id"
                )
            found[constraint.id] = constraint
    return MappingProxyType(found)
