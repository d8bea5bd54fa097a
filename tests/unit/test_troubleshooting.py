"""Messages that docs/troubleshooting.md quotes are messages that the code still says."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.page_commands import ROOT

PAGE = ROOT / "docs" / "troubleshooting.md"
QUOTED = re.findall(r"\*\*`([^`]+)`\*\*", PAGE.read_text(encoding="utf-8"))
ROOMS = ("configs", "gyms", "rollout", "reward", "rl")
HOLE = "\0"


@cache
def texts() -> tuple[str, ...]:
    """Every text of the code, what is filled in replaced by a hole; and the Makefile's."""
    found = re.sub(r"\$\(\d\)|\$\$?[({][^)}]*[)}]", HOLE, (ROOT / "Makefile").read_text()).splitlines()
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [v.value if isinstance(v, ast.Constant) else HOLE for v in node.values]
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return tuple(found)


def is_said(message: str) -> bool:
    """Whether some text has all parts of the message between its dots, in order."""
    words = [re.escape(part.strip()) for part in message.split("...") if part.strip(" .")]
    pattern = re.compile(r".*?".join(words), re.DOTALL)
    return any(found is not None and len(found[0]) < 3 * len(message) for found in map(pattern.search, texts()))


@pytest.mark.parametrize("message", QUOTED)
def test_a_message_that_the_page_quotes_is_one_that_the_code_says(message: str) -> None:
    assert len(re.sub(r"[^a-z]", "", message)) >= 10, "too little of it to be recognised"
    assert is_said(message)


def test_there_are_messages_and_a_wrong_one_would_be_seen() -> None:
    assert len(QUOTED) > 25
    assert not is_said("this run needs about ... bananas of memory")
    assert not is_said("the policy has risen: ...")
