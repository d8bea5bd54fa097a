"""The text of single tokens, so that the page can colour them: rows hold ids, and only the run's tokenizer knows more.

Looked for where a run leaves one: export/, base/, then the folder that config.json names. Without one, or without the
library, samples are shown as plain text, and the page says so. A token's text is what it adds behind another one, since
many decoders drop the space of a first token. One that holds a part of a character shows as a replacement character.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rl.page.folder import RunRecord

__all__ = ["open_tokenizer", "pieces_of"]


def open_tokenizer(run: RunRecord) -> Any | None:
    """The run's tokenizer (`tokenizers.Tokenizer`), or None."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    for folder in _folders(run):
        if (file := folder / "tokenizer.json").is_file():
            try:
                return Tokenizer.from_file(str(file))
            except Exception:  # the library raises bare Exceptions for files it cannot read; the next may be whole
                continue
    return None


def pieces_of(tokenizer: Any, ids: Iterable[int]) -> dict[int, str]:
    """What each token id adds to a text."""
    anchor = next(iter(tokenizer.encode("a", add_special_tokens=False).ids), None)
    before = "" if anchor is None else tokenizer.decode([anchor], skip_special_tokens=False)
    pieces = {}
    for token_id in sorted(set(ids)):
        behind = [token_id] if anchor is None else [anchor, token_id]
        text = tokenizer.decode(behind, skip_special_tokens=False)
        pieces[token_id] = text[len(before) :] if text.startswith(before) else tokenizer.decode([token_id])
    return pieces


def _folders(run: RunRecord) -> list[Path]:
    model = run.config.get("model")
    named = model.get("path") if isinstance(model, dict) else None
    own = [run.path / "export", run.path / "base"]
    return [*own, Path(named)] if isinstance(named, str) else own
