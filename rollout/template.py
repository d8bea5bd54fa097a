"""Calls a model's chat template, and names what prompts depend on: two runs, and a run that goes on, ask the same.

A template may write today's date (`strftime_now`, as those of Llama 3 and Mistral do): its prompts would be others on
the next day, and so would be all that is drawn. Here it is always the same day, the one that Llama 3's templates write
where they know no other. Left out: templates that draw at random.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gyms.api import Tool

__all__ = ["apply_template", "notes_on", "tokenizer_hash"]

DAY = datetime(2024, 7, 26)
"""Of all prompts."""
_CLOCK = "strftime_now"
"""What transformers calls its clock in templates."""
_PROBE = "A b  c\n\n\td1234567890 x=-3.14e+5; It's 'naïve', ÉCOLE ½ ① 東京、18个 яблок 🙂\r\n"
"""Text that tokenizers of one vocabulary may still split differently."""


def apply_template(tokenizer: Any, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool], *, opens: bool) -> str:
    """A conversation as text. Raises whatever the template does."""
    known = [
        {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": t.parameters}}
        for t in tools
    ]
    clock = {_CLOCK: DAY.strftime} if _writes_date(tokenizer) else {}
    return tokenizer.apply_chat_template(
        list(messages), tools=known or None, add_generation_prompt=opens, tokenize=False, **clock
    )


def notes_on(tokenizer: Any) -> tuple[str, ...]:
    """What people should know of prompts that its chat template writes, a line each."""
    if not _writes_date(tokenizer):
        return ()
    told = "the chat template of model.path writes today's date; in a run it is always"
    return (f"{told} {DAY:%d %b %Y}, so that a run that goes on another day asks the same",)


def _writes_date(tokenizer: Any) -> bool:
    return _CLOCK in str(tokenizer.chat_template)


def tokenizer_hash(tokenizer: Any) -> str:
    """Names how text becomes token ids: each token's id, and those of a text that is hard to split."""
    ids = sorted((str(token), number) for token, number in tokenizer.get_vocab().items())
    facts = {"vocabulary": ids, "probe": tokenizer.encode(_PROBE, add_special_tokens=False)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
