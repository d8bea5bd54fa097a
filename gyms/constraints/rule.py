"""What one instruction id is: its rule, its typed arguments, the function that checks it, and facts for the rest.

Each id is said once, by a decorator on the function that checks it: the parameters behind the text are the arguments,
the docstring is the instruction as its data set words it and, behind "Differs:", where the published checker says
something else. There is no checker object that could carry state from one item to the next or between threads.

*Facts* are what is known of all responses that satisfy an id: how many words at least, which text, which first word.
conflicts.py proves with them that no response satisfies two instructions; hacks.py knows by them what is asked for.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from gyms.constraints.arguments import Args, NoArgs, arguments_of
from gyms.constraints.text import prepared, with_line_ends

__all__ = [
    "SOURCES",
    "Bound",
    "Check",
    "Constraint",
    "Instruction",
    "Item",
    "Quantity",
    "Rules",
    "at_least",
    "exactly",
    "once",
    "related",
]

SOURCES = ("IFEval", "IFBench", "open-instruct")
Check = Callable[[str, Any], bool]
"""(response, arguments) -> does the instruction hold. Never raises, whatever the response."""
Quantity = str | tuple[str, str]
"""What is counted: "words", or a kind and what it is of, ("the keyword", "cat")."""
Bound = tuple[Quantity, int, int | None]
"""(quantity, at least, at most); None: no upper bound."""
Asked = list[tuple[str, int]]
"""(text, how often): what must stand in a response."""
_F = TypeVar("_F", bound=Callable[..., bool])


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One instruction id. Facts are values, or functions of the arguments where they depend on them.

    Example:
        Constraint(id="my:no_z", rule="Do not use the letter z.", source="mine", check=lambda text, _: "z" not in text)
    """

    id: str
    """Published name, `group:name`."""
    rule: str
    """The instruction as its data set words it; `{name}` stands for an argument."""
    source: str
    """Where the id was published."""
    check: Check
    """The rule, as it reads."""
    args: type[Args] = NoArgs
    """Typed arguments; unknown, missing and ill-typed ones are refused."""
    difference: str = ""
    """Where `check` and the published checker part, in one line; empty where they agree on all that was compared."""

    bounds: list[Bound] | Callable[[Any], list[Bound]] = field(default_factory=list)
    """Fact: how many words, sentences, ... there are."""
    keywords: Asked | Callable[[Any], Asked] = field(default_factory=list)
    """Fact: text that must occur, wherever it likes, as it stands but for case."""
    texts: Asked | Callable[[Any], Asked] = field(default_factory=list)
    """Fact: text that must occur in a place of its own, in any case and with any white space for its own."""
    may_go_on: str = ""
    """Fact: the ends, of `start end`, at which a letter may join its required text: cat may be the start of cats."""
    first: str | Callable[[Any], str | None] | None = None
    """Fact: the first word, as `text.low_words` reads words."""
    last: str | Callable[[Any], str | None] | None = None
    """Fact: the last word, likewise."""
    opening: str | Callable[[Any], str | None] | None = None
    """Fact: what the first word begins with; a sign may join more to it (I'm begins with I)."""
    only: list[str] | Callable[[Any], list[str]] = field(default_factory=list)
    """Fact: all responses there are, but for spaces and case; empty where there is a choice."""
    language: str | Callable[[Any], str] | None = None
    """Fact: the language of the whole response."""
    forbidden: list[str] | Callable[[Any], list[str]] = field(default_factory=list)
    """Fact: words that may not occur."""
    needs: str = ""
    """Fact: what every response holds; names as in conflicts.NEEDS, with spaces between."""
    forbids: str = ""
    """Fact: what no response holds."""
    excludes: Mapping[str, str] = field(default_factory=dict)
    """Fact: id -> why the two can never hold together, where no other fact says so."""
    folds: bool | Callable[[Any], bool] = False
    """Fact: its verdict on a text is the same in any case, and with any white space where the text has some."""
    copies: bool = False
    """Fact: it asks to repeat what the prompt says."""
    is_parsed: bool = False
    """Fact: a program reads what it asks for (JSON, CSV, HTML), so it is checked as written, but for line ends."""
    is_short: bool = False
    """Fact: a response of few words, not about the topic, may be what it asks for."""


class Rules:
    """The ids of one file, in its order.

    Example:
        RULES = Rules()
        mine = RULES.of("mine")

        @mine("my:no_letter")
        def no_letter(text: str, letter: Letter) -> bool:
            '''Do not use the letter {letter}.
            Differs: capitals count.'''
            return letter.lower() not in text.lower()
    """

    def __init__(self) -> None:
        self._made: dict[str, Constraint] = {}
        self._of: dict[Callable[..., bool], Constraint] = {}

    def of(self, source: str) -> Callable[..., Callable[[_F], _F]]:
        """The decorator for ids of one publication: (id, refuses=, and any field of `Constraint`).

        A second decorator on a function makes another id of it, with all facts that it does not state itself.
        """

        def rule_of(
            name: str, *, refuses: Callable[[Any], str | None] | None = None, **stated: Any
        ) -> Callable[[_F], _F]:
            def made(function: _F) -> _F:
                base = self._of.get(function) or _read(function, source, refuses)
                one = dataclasses.replace(base, id=name, source=source, **stated)
                if not one.rule:
                    raise ValueError(f"{name} has no rule: word it in the function's docstring or give `rule`")
                self._made[name] = self._of[function] = one
                return function

            return made

        return rule_of

    def __iter__(self) -> Iterator[Constraint]:
        return iter(self._made.values())


def _read(function: Callable[..., bool], source: str, refuses: Callable[[Any], str | None] | None) -> Constraint:
    rule, _, differs = (inspect.getdoc(function) or "").partition("Differs: ")
    return Constraint(
        id=function.__name__,
        rule=" ".join(rule.split()),
        source=source,
        check=lambda text, args: function(text, **vars(args)),
        args=arguments_of(function, refuses),
        difference=" ".join(differs.split()).removesuffix("."),
    )


def at_least(quantity: Quantity, number: int) -> Bound:
    return (quantity, number, None)


def exactly(quantity: Quantity, number: int) -> Bound:
    return (quantity, number, number)


def related(quantity: Quantity, relation: str, number: int) -> Bound:
    """`less than` or `at least` so many."""
    return (quantity, number, None) if relation == "at least" else (quantity, 0, number - 1)


def once(text: str) -> Asked:
    """A text that must occur."""
    return [(text.strip(), 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An instruction id with its arguments."""

    constraint: Constraint
    args: Args

    @property
    def id(self) -> str:
        """The published id."""
        return self.constraint.id

    def holds(self, text: str) -> bool:
        """Does a response, prepared (text.py), satisfy it; one without any text satisfies nothing."""
        return bool(text.strip()) and bool(self.constraint.check(text, self.args))

    def accepts(self, response: str) -> bool:
        """Does a response, as it was written, satisfy it."""
        return self.holds(with_line_ends(response) if self.constraint.is_parsed else prepared(response))

    def fact(self, name: str) -> Any:
        """A fact of the constraint, for these arguments."""
        stated = getattr(self.constraint, name)
        return stated(self.args) if callable(stated) else stated

    def required(self) -> Asked:
        """(text, how often): what must stand in a response for it to hold."""
        return [*self.fact("keywords"), *self.fact("texts")]

    def told(self) -> str:
        """The rule with its arguments, for messages; what is long is cut."""
        text = self.constraint.rule
        for name, value in self.args.model_dump().items():
            text = text.replace("{" + name + "}", _shown(value))
        return text


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A prompt and what it asks for; item.py reads one."""

    prompt: str
    instructions: tuple[Instruction, ...]
    mode: Literal["strict", "loose"] = "strict"
    """`loose` accepts a response if one of its eight variants without first line, last line or asterisks passes."""
