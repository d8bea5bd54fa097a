"""Open prompts and curated conversations, as published: rows become `prompt`, and `messages` that end in an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gyms.row_formats.form import RowFormat

__all__ = ["CHAT"]

Row = Mapping[str, Any]
_SPEAKERS = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
"""ShareGPT's names."""


def _user(text: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _of_sharegpt(turns: Any) -> list[dict[str, Any]]:
    unknown = next((turn["from"] for turn in turns if turn["from"] not in _SPEAKERS), None)
    if unknown is not None:
        raise ValueError(f"a turn is from {unknown!r}; expected one of {', '.join(_SPEAKERS)}")
    return [{"role": _SPEAKERS[turn["from"]], "content": turn["value"]} for turn in turns]


def _asked(messages: Sequence[Any]) -> list[Any]:
    """A conversation up to the user's last message."""
    places = [i for i, m in enumerate(messages) if isinstance(m, Mapping) and m.get("role") == "user"]
    if not places:
        raise ValueError("the conversation has no message of the user")
    return list(messages[: places[-1] + 1])


def _instructed(row: Row) -> str:
    extra = row.get("input")
    return f"{row['instruction']}\n\n{extra}" if isinstance(extra, str) and extra.strip() else row["instruction"]


def _completed(prompt: Any, answer: Any) -> Row:
    before = list(prompt) if isinstance(prompt, list) else _user(prompt)
    said = list(answer) if isinstance(answer, list) else [{"role": "assistant", "content": answer}]
    return {"messages": [*before, *said]}


CHAT: tuple[RowFormat, ...] = (
    RowFormat(
        name="messages-prompt",
        kind="chat",
        published="conversations as `messages` (UltraChat, Tulu 3): asked up to the user's last message",
        needs=("messages",),
        lacks=("prompt",),
        convert=lambda row: {**row, "prompt": _asked(row["messages"])},
    ),
    RowFormat(
        name="sharegpt-prompt",
        kind="chat",
        published="ShareGPT: conversations of from and value",
        needs=("conversations.0.from",),
        lacks=("prompt", "messages"),
        convert=lambda row: {**row, "prompt": _asked(_of_sharegpt(row["conversations"]))},
    ),
    RowFormat(
        name="alpaca-prompt",
        kind="chat",
        published="Alpaca: instruction and input; its output is not used",
        needs=("instruction",),
        lacks=("prompt", "messages", "conversations"),
        convert=lambda row: {**row, "prompt": _instructed(row)},
    ),
    RowFormat(
        name="sharegpt",
        kind="conversations",
        published="ShareGPT: conversations of from and value",
        needs=("conversations.0.from",),
        lacks=("messages",),
        convert=lambda row: {"messages": _of_sharegpt(row["conversations"])},
    ),
    RowFormat(
        name="alpaca-conversation",
        kind="conversations",
        published="Alpaca: instruction, input, output",
        needs=("instruction", "output"),
        lacks=("messages", "conversations"),
        convert=lambda row: _completed(_instructed(row), row["output"]),
    ),
    RowFormat(
        name="prompt-completion",
        kind="conversations",
        published="TRL: prompt and completion, texts or messages",
        needs=("prompt", "completion"),
        lacks=("messages",),
        convert=lambda row: _completed(row["prompt"], row["completion"]),
    ),
    RowFormat(
        name="prompt-response",
        kind="conversations",
        published="prompt and response (verl's SFT data, OpenRLHF)",
        needs=("prompt", "response"),
        lacks=("messages", "completion"),
        convert=lambda row: _completed(row["prompt"], row["response"]),
    ),
)
