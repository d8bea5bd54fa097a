"""An instruction with its arguments, and the item that asks for several; gyms/constraints/item.py reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from gyms.constraints.arguments import Args
from gyms.constraints.constraint import Constraint

__all__ = ["Instruction", "Item"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An instruction id with its arguments."""

    constraint: Constraint
    args: Args

    @property
    def id(self) -> str:
        """The published id."""
        return self.constraint.id

    def holds(self, text: str, *, compat: bool = False) -> bool:
        """Does a response satisfy it; raw text in compat mode, prepared text otherwise."""
        return bool(text.strip()) and self.constraint.holds(text, self.args, compat=compat)

    def told(self) -> str:
        """The rule with its arguments, for messages; what is long is cut."""
        text = self.constraint.rule
        for name, value in self.args.model_dump().items():
            text = text.replace("{" + name + "}", _shown(value))
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A prompt and what it asks for."""

    prompt: str
    instructions: tuple[Instruction, ...]
    mode: Literal["strict", "loose"] = "strict"
    """`loose` accepts a response if one of its eight variants without first line, last line or asterisks passes."""
    compat: bool = False
    """True: check as the published checkers do."""


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
