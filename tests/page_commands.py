"""Commands of the pages, taken out of their fenced `sh` blocks: what is typed, and which of our programs it is.

A command is one line of a block, its continuation lines joined and its comment cut off; what stands behind a pipe or a
semicolon is left to the shell. Pages write the same program in several ways (`k2rl train`, `python -m rl.train`,
`.venv/bin/python -m rl.train`), so it is told by its module.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rl.verbs import VERBS

__all__ = ["PAGES", "ROOT", "Command", "blocks", "commands"]

ROOT = Path(__file__).parents[1]
PAGES = tuple(
    sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
)
_BLOCK = re.compile(r"^[ ]*```(\w*)[^\n]*\n(.*?)^[ ]*```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a page."""

    page: str
    """From the repository's root."""
    words: tuple[str, ...]
    """As a shell splits them, variables before the program left out."""

    @property
    def module(self) -> str | None:
        """The module of ours that it runs; None for other programs."""
        program = self.words[0].rpartition("/")[2]
        if program == "k2rl":
            return VERBS[self.words[1]].module if len(self.words) > 1 and self.words[1] in VERBS else "rl.verbs"
        if program == "gyms":
            return "gyms.cli.main"
        if program in ("python", "python3") and self.words[1:2] == ("-m",):
            name = {"gyms": "gyms.cli.main", "rl.train": "rl.cli", "rl.report": "rl.page.command"}
            return name.get(self.words[2], self.words[2])
        return None

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the program is given."""
        program = self.words[0].rpartition("/")[2]
        skipped = {"k2rl": 2, "python": 3, "python3": 3}.get(program, 1)
        return self.words[skipped:]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    return [text for name, text in _BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


def commands(page: Path) -> Iterator[Command]:
    """All commands of a page."""
    for block in blocks(page, "sh"):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            words = shlex.split(re.sub(r"<[a-z][^<>]*>", "PLACEHOLDER", line), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                del words[0]
            ends = [i for i, word in enumerate(words) if word in ("|", ">", ">>", "&&", "&", ";")]
            if words := words[: ends[0]] if ends else words:
                yield Command(page=str(page.relative_to(ROOT)), words=tuple(words))
