"""A cursor over an answer's tokens that counts nodes and depth; the base of the parser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gyms.math.caps import MAX_NESTING, MAX_NODES, TooComplex, Unreadable
from gyms.math.tokens import Token
from gyms.math.tree import Node

__all__ = ["Cursor"]


class Cursor:
    """A cursor over tokens, with the caps on nodes and depth."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.place = 0
        self.num_nodes = 0
        self.depth = 0
        self.fences: list[str] = []

    def peek(self) -> Token | None:
        """The next token, or None at the end."""
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def skip(self) -> None:
        """Past the next token."""
        self.place += 1

    def at(self, text: str | None) -> bool:
        """True where the next token is this sign or command."""
        token = self.peek()
        return token is not None and token.text == text and token.kind not in ("text", "word")

    def expect(self, text: str) -> None:
        """Past this sign; Unreadable where another stands there."""
        if not self.at(text):
            raise Unreadable(f"expected {text!r} before {self.rest()!r}")
        self.skip()

    def rest(self) -> str:
        """The start of what is left, for messages."""
        return " ".join(token.text for token in self.tokens[self.place : self.place + 5])

    def node(self, op: str, args: tuple[Node, ...] = (), value: Any = None, note: Any = None) -> Node:
        """A new node, counted."""
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES:
            raise TooComplex(f"the answer has over {MAX_NODES} parts")
        return Node(op, args, value, note)

    @contextmanager
    def nested(self) -> Iterator[None]:
        """One level deeper."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise TooComplex(f"the answer is nested over {MAX_NESTING} deep")
        yield
        self.depth -= 1
