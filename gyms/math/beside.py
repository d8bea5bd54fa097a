r"""What touches a value and changes it: a sign or a denial before it, what goes on behind it.

`-\boxed{18}`, "minus 18" and "not 18" are not 18, nor are `\boxed{18}.5`, `\boxed{18}^2`, `\boxed{18}/5` and 18½.
Read is what stands directly beside the value: a unit between them ends it (`\boxed{18} m^2`), and a full stop, a
remark or an exclamation mark outside of a formula is none of it. "Less than 18" is not 18 where a number is asked for
(gsm8k, arithmetic); in mathematics it may be the bound that is asked for.

Left out: what contains the value (`\frac{1}{\boxed{18}}`, `20 - \boxed{18}`), factors (`\boxed{18}\pi`, which may
answer "for which k"), bounds ("at most \boxed{18}", which is a maximum), and denials in other words ("hardly 18").
"""

from __future__ import annotations

import re

__all__ = ["continued", "is_compared", "is_denied", "signed"]

MAX_BEFORE = 30
"""How far before a value its sign and its denial are looked for."""
_SIGN = r"(?:[-\u2212\u2013]|(?i:minus|negative)[ ]|\\pm[ ]?|\u00b1)"
_LEADS = r"is|are|was|be|becomes?|equals|so|thus|hence|therefore|gets?|gives?|have|has|obtain|to"
_BEFORE = re.compile(
    rf"(?:(?:^|\n|[:#])[ ]?\(?{_SIGN}"
    rf"|(?:[=\u2248]|(?<![\w)}}\]])\$|\\[(\[]|\\approx|(?i:\b(?:{_LEADS})\b,?))[ ]?\(?{_SIGN}[ ]?)\$?$"
)
"""A sign that begins the expression: in `20 -\boxed{2}` it does not, and behind the mark of a list stands a space."""
_DENIED = re.compile(
    r"(?:(?:\b(?<!or )(?:not|cannot|never)|n't)(?:[ ](?:be|equal(?:[ ]to)?))?|\\neq?|\\not[ ]?=|!=|\u2260|不是?)"
    r"[ $*]{0,5}\Z"  # not `$`, which stands before a line's end too: "more of them than not" and a new line
)
_COMPARED = re.compile(r"\bthan[ $*]{0,5}\Z", re.I)
_NO = re.compile(r"\b(?:no|not|never|cannot)\b|n't\b", re.I)
"""Before "less than" it makes a bound: "no less than \boxed{18}"."""
_EXPONENT = (
    r"(?:-?[0-9]+|[A-Za-np-z](?![A-Za-z])"
    r"|\{(?=[ ]?(?:[-+(0-9]|\\[dt]?frac|[A-Za-np-z][^A-Za-z]))(?:[^{}]|\{[^{}]{0,40}\}){1,40}\})"
)
"""Not `^{th}`, and not `^o`, which is meant for degrees."""
_BEHIND = re.compile(
    r"(?:\$|\\\))?(?P<decimals>\.[0-9]+|(?:,[0-9]{3})+(?![0-9])|[\u00bc-\u00be\u2150-\u215e])"
    r"|(?P<digits>[0-9]+|(?:[ ]|\\[ ,])?\\[dt]?frac(?:[ ]?[0-9]{2}|(?:\{[0-9]{1,9}\}){2}))"
    rf"|(?P<operation>/[0-9]+|(?:\^|\*\*(?=[0-9])){_EXPONENT}|[\u00b2\u00b3\u2074-\u2079]+|!(?=[ ]?(?:\$|\\[)\]])))"
)
"""The rest of a number, and what is done with it; `!` is a factorial where the formula ends behind it."""


def is_denied(text: str, start: int) -> bool:
    """Whether what stands before a value says that this is not it."""
    return _DENIED.search(text[max(0, start - MAX_BEFORE) : start]) is not None


def is_compared(text: str, start: int) -> bool:
    """Whether a value is said to be another than this: "less than 18". In mathematics it may be the bound asked for."""
    before = text[max(0, start - MAX_BEFORE) : start]
    compared = _COMPARED.search(before)
    return compared is not None and _NO.search(before, 0, compared.start()) is None


def signed(value: str, text: str, start: int) -> str:
    """A value that begins at a place of a text, with the sign that stands before it, which may be a word."""
    sign = _BEFORE.search(text[max(0, start - MAX_BEFORE) : start])
    if sign is None or not value:
        return value
    is_both = sign.group().rstrip("$ ").endswith(("\\pm", "\u00b1"))
    return (r"\pm " if is_both else "-") + _whole(value)


def continued(value: str, text: str, end: int) -> tuple[str, int]:
    """A value that ends at a place of a text, with what goes on behind it, and where that ends.

    Example:
        continued("18", r"\\boxed{18}^2 = 324", 10) == ("18^2", 12)
    """
    behind = _BEHIND.match(text, end)
    if behind is None or not value:
        return value, end
    is_operation = behind["operation"] is not None
    return (_whole(value) if is_operation else value) + behind[str(behind.lastgroup)], behind.end()


def _whole(text: str) -> str:
    return f"({text})" if re.search(r"[-+]", text) else text
