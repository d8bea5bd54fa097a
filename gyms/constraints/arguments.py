"""The arguments of instructions, typed: what a data set gives is checked before anything is verified.

An instruction's arguments stand in the signature of the function that checks it, behind the text:
`def numbers(text: str, N: Whole) -> bool`. `arguments_of` makes a pydantic model of them. Numbers come as `3` or, in
some published files, as `3.0`; both are whole numbers. `true`, `2.5`, "3" and empty strings are refused: an argument
that has to be guessed at makes the item malformed, and a malformed item is masked rather than scored. Texts are
prepared as responses are (text.py), so that a keyword in full-width letters is found.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model, model_validator

from gyms.combining import composed
from gyms.constraints.language import LANGUAGES
from gyms.constraints.text import prepared

__all__ = ["Args", "NoArgs", "arguments_of"]
__all__ += ["AsGiven", "Language", "Letter", "Percent", "Positive", "Relation", "Text", "Whole", "Word", "Words"]

MAX_COUNT = 1_000_000
MAX_TEXT = 50_000


class Args(BaseModel):
    """Base of all arguments: unknown names are refused, values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoArgs(Args):
    """An instruction without arguments."""


def arguments_of(function: Callable[..., bool], refuses: Callable[[Any], str | None] | None = None) -> type[Args]:
    """The model of a check's arguments: all parameters but the first, which is the text.

    `refuses` says what is wrong with arguments that are fine one by one, or None.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    fields: dict[str, Any] = {p.name: (hints[p.name], ... if p.default is p.empty else p.default) for p in parameters}
    validators: dict[str, Any] = {"_fits": model_validator(mode="after")(_refusing(refuses))} if refuses else {}
    model = create_model(function.__name__, __base__=Args, __validators__=validators, **fields)
    return model if fields else NoArgs


def _refusing(refuses: Callable[[Any], str | None]) -> Callable[[Any], Any]:
    def fits(args: Any) -> Any:
        if wrong := refuses(args):
            raise ValueError(wrong)
        return args

    return fits


def _whole(value: Any) -> Any:
    """3.0 is 3; a truth value is no number."""
    if isinstance(value, bool):
        raise ValueError("expected a whole number, got a truth value")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _filled(value: Any) -> Any:
    if isinstance(value, str) and not prepared(value).strip():
        raise ValueError("expected some text, got an empty string")
    return value


def _word_of(value: Any) -> Any:
    """Some published rows wrap a single word into a list."""
    return _filled(value[0] if isinstance(value, list) and len(value) == 1 else value)


def _letter_of(value: Any) -> Any:
    """With its accent one character."""
    return composed(_filled(value)) if isinstance(value, str) else value


def _known(language: str) -> str:
    if language.lower() not in LANGUAGES:
        raise ValueError("expected the code of a language that can be detected, e.g. 'en', 'de', 'hi'")
    return language


Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, le=MAX_COUNT)]
Positive = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=1, le=MAX_COUNT)]
Percent = Annotated[float, BeforeValidator(_whole), Field(ge=0, le=100, allow_inf_nan=False)]
AsGiven = Annotated[str, BeforeValidator(_filled), Field(strict=True, max_length=MAX_TEXT)]
"""Text in which places are counted."""
Text = Annotated[AsGiven, AfterValidator(prepared)]
Word = Annotated[str, BeforeValidator(_word_of), Field(strict=True, max_length=1000), AfterValidator(prepared)]
Words = Annotated[list[Text], Field(min_length=1, max_length=200)]
Relation = Literal["less than", "at least"]
_Letter = Annotated[str, BeforeValidator(_letter_of), Field(strict=True, min_length=1, max_length=1)]
Letter = Annotated[_Letter, AfterValidator(prepared)]
Language = Annotated[Text, AfterValidator(_known)]
