"""Which part of a response is the program: one fixed rule, in linear time.

The last complete fenced block whose language is the task's, or which names none. Text after it does not matter, prose
is never run. Where the response has no fence at all, the whole of it is the program, provided that it is valid source
(which only the sandbox finds out): base models answer so. A response whose only fences are unclosed, or in other
languages, has no answer. A fence is a line of its own. Whatever stands before the end of a thinking segment
(`</think>`) is not part of the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["LANGUAGES", "Extracted", "extract"]

LANGUAGES = {
    "python": frozenset({"python", "python3", "py", "py3"}),
    "cpp": frozenset({"cpp", "c++", "cc", "cxx", "c++17", "cpp17"}),
    "javascript": frozenset({"javascript", "js", "node", "nodejs", "mjs", "cjs"}),
}
"""Names of each language, in fences and in tasks."""
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)\s*")
_CLOSING = re.compile(r" {0,3}(`{3,}|~{3,})\s*")


@dataclass(frozen=True, slots=True)
class Extracted:
    """The program of a response."""

    code: str
    has_fence: bool
    """False: the whole response was taken, and counts only if it is valid source."""


def extract(response: str, language: str) -> Extracted | None:
    """The program, or None where the response holds none."""
    answer = _after_thinking(response)
    if answer is None:
        return None
    found: str | None = None
    saw_fence = False
    opened: tuple[str, str, list[str]] | None = None  # fence, name of its language, lines
    for line in answer.split("\n"):
        if opened is None:
            match = _FENCE.fullmatch(line)
            if match is not None:
                saw_fence = True
                opened = (match.group(1), _language(match), [])
            continue
        fence, name, lines = opened
        again = None if name else _FENCE.fullmatch(line)
        if again is not None and _language(again):  # the nameless fence was the end of one that began in mid-line
            opened = (again.group(1), _language(again), [])
            continue
        closing = _CLOSING.fullmatch(line)
        if closing is not None and closing.group(1).startswith(fence):
            if not name or name in LANGUAGES[language]:
                found = "\n".join(lines)
            opened = None
        else:
            lines.append(line)
    if saw_fence:
        return Extracted(found, has_fence=True) if found is not None and found.strip() else None
    return Extracted(answer, has_fence=False) if answer.strip() else None


def _language(match: re.Match[str]) -> str:
    return match.group(2).strip().strip("{}").lstrip(".").split(" ")[0].lower()


def _after_thinking(response: str) -> str | None:
    """What follows the last thinking segment; None where one was begun and not ended."""
    _, ended, answer = response.rpartition("</think>")
    if ended:
        return answer
    return None if "<think>" in response else response
