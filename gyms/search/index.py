"""Full-text search over documents: SQLite's FTS5, in memory, ranked by BM25 with the title counted three times.

What a model searches for is words, never FTS5's query language: whatever it writes, its words are taken out and joined
by OR, so no query is a syntax error and none costs more than `MAX_WORDS` look-ups. Equal ranks come in the order of the
corpus: the same query always finds the same.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from gyms.search.corpus import Document

__all__ = ["Found", "Index", "missing_engine"]

MAX_WORDS = 32
"""Words of a query that are looked up; further ones are left out."""
MAX_WORD_CHARS = 64
_SNIPPET_WORDS = 24
_WORD = re.compile(r"[^\W_]+")


def missing_engine() -> str:
    """Why there is no full-text search here; empty where there is."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE probe USING fts5(text)")
    except sqlite3.OperationalError as error:
        return f"this Python's SQLite {sqlite3.sqlite_version} has no FTS5 ({error}); use a Python whose SQLite has it"
    finally:
        connection.close()
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One result."""

    id: str
    title: str
    snippet: str
    """The part of the text that fits best."""


class Index:
    """A corpus that can be searched. Any thread of its process may use it, one at a time."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = {document.id: document for document in documents}
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.execute(
            "CREATE VIRTUAL TABLE documents USING fts5(id UNINDEXED, title, text, tokenize = 'porter unicode61')"
        )
        rows = [(document.id, document.title, document.text) for document in documents]
        self._connection.executemany("INSERT INTO documents VALUES (?, ?, ?)", rows)

    def get(self, document_id: str) -> Document | None:
        """A document by its id."""
        return self._documents.get(document_id)

    def search(self, query: str, *, max_results: int) -> list[Found]:
        """The documents that fit a query best, the best first."""
        words = [word[:MAX_WORD_CHARS] for word in _WORD.findall(query[: MAX_WORDS * MAX_WORD_CHARS])][:MAX_WORDS]
        if not words:
            return []
        rows = self._connection.execute(
            f"SELECT id, title, snippet(documents, 2, '', '', ' ... ', {_SNIPPET_WORDS}) FROM documents "
            "WHERE documents MATCH ? ORDER BY bm25(documents, 0.0, 3.0, 1.0), rowid LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), max_results),
        )
        return [Found(id=name, title=title, snippet=snippet) for name, title, snippet in rows]
