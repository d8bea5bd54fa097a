"""Which part of a response is the program: one fixed rule, in linear time.

The last complete fenced block whose language is the task's; where no block names it, the last one that names none (what
follows a program without a name is its output or a command more often than another program). Text after it does not
matter, prose is never run. Where the response has no fence at all, the whole of it is the program, provided that it is
valid source (which only the sandbox finds out): base models answer so. A response whose only fences are unclosed, or in
other languages, has no answer. A fence is a line of its own. However deep it is indented, its block loses as much; but
one that is deeper than Markdown allows (three spaces more than the list item that it belongs to) is text where a
triple-quoted string is open: there it belongs to a docstring of a program without fences. Whatever stands before the
end of a thinking segment (`</think>`) is not part of the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gyms.response import after_thoughts, plain_starts

__all__ = ["LANGUAGES", "Extracted", "extract"]

LANGUAGES = {
    "python": frozenset({"python", "python3", "py", "py3"}),
    "cpp": frozenset({"cpp", "c++", "cc", "cxx", "c++17", "cpp17", "gnu++"}),
    "javascript": frozenset({"javascript", "js", "node", "nodejs", "mjs", "cjs"}),
}
"""Names of each language, in fences and in tasks."""
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^\n`]*)\s*")
_NAME_END = re.compile(r"[\s:,;{]")
"""What parts a language from a file's name or an option: `python:main.py`, `python,linenos`."""
_VERSION = re.compile(r"(?<=[ny])3(?:\.\d{1,2}){0,2}$|(?<=[+p])[0-2][0-9abxyz]$")
"""Of Python 3, and of a C++ standard: another version is another language."""
_CLOSING = re.compile(r"([ \t]*)(`{3,}|~{3,})\s*")
_ITEM = re.compile(r"([ \t]*)(?:[-*+]|\d{1,9}[.)])([ \t]+)(?=\S)")
_MOST_INDENT = 3
"""Spaces before a fence, counted from where its list item's text begins; more before a closing one than before its own
opening one."""
_TRIPLE_QUOTES = re.compile("\"{3}|'{3}")


@dataclass(frozen=True, slots=True)
class Extracted:
    """The program of a response."""

    code: str
    has_fence: bool
    """False: the whole response was taken, and counts only if it is valid source."""


def extract(response: str, language: str) -> Extracted | None:
    """The program, or None where the response holds none."""
    answer = after_thoughts(response)
    if answer is None:
        return None
    answer = plain_starts(answer)
    named: str | None = None
    nameless: str | None = None
    saw_fence = False
    item = 0  # column at which the text of the list item begins that we are in
    opened: _Fence | None = None
    is_quoted = False  # inside a triple-quoted string, where no block is open
    for line in answer.split("\n"):
        if opened is None:
            item = _item_column(line, item)
            opened = _opening(line, item if is_quoted else None)
            saw_fence = saw_fence or opened is not None
            is_quoted ^= len(_TRIPLE_QUOTES.findall(line)) % 2 == 1
            continue
        again = None if opened.language else _opening(line, item)
        if again is not None and again.language:  # the nameless fence was the end of one that began in mid-line
            opened = again
        elif opened.is_closed_by(line):
            if opened.language in LANGUAGES[language]:
                named = opened.content()
            elif not opened.language:
                nameless = opened.content()
            opened = None
        else:
            opened.lines.append(line)
    if saw_fence:
        found = nameless if named is None or not named.strip() else named
        return Extracted(found, has_fence=True) if found is not None and found.strip() else None
    return Extracted(answer, has_fence=False) if answer.strip() else None


@dataclass(slots=True)
class _Fence:
    """A block that was begun."""

    indent: int
    marks: str
    language: str
    lines: list[str] = field(default_factory=list)

    def is_closed_by(self, line: str) -> bool:
        """As many marks or more, and not deeper within the block than three spaces."""
        match = _CLOSING.fullmatch(line)
        return (
            match is not None
            and match.group(2).startswith(self.marks)
            and _width(match.group(1)) <= self.indent + _MOST_INDENT
        )

    def content(self) -> str:
        """Its lines, without the indentation that they share with the fence."""
        return "\n".join(_dedented(line, self.indent) for line in self.lines)


def _item_column(line: str, item: int) -> int:
    """Where the text of the list item begins that a line belongs to; 0 outside of lists."""
    if not line.strip():
        return item
    match = _ITEM.match(line)
    if match is not None:
        return _width(match.group(0).expandtabs(4))
    return item if _width(line[: len(line) - len(line.lstrip(" \t"))]) >= item else 0


def _opening(line: str, item: int | None) -> _Fence | None:
    """The block that a line opens; None where it is no fence, or deeper than Markdown allows in an item at a column."""
    match = _FENCE.fullmatch(line)
    if match is None or (item is not None and _width(match.group(1)) > item + _MOST_INDENT):
        return None
    name = _NAME_END.split(match.group(3).strip().strip("{}").lstrip("."), maxsplit=1)[0].lower()
    return _Fence(_width(match.group(1)), match.group(2), _VERSION.sub("", name))


def _width(space: str) -> int:
    return len(space.expandtabs(4))


def _dedented(line: str, indent: int) -> str:
    """Up to so many columns of white space fewer."""
    if not indent:
        return line
    body = line.lstrip(" \t")
    return " " * max(0, _width(line[: len(line) - len(body)]) - indent) + body
