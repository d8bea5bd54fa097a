"""How a task becomes token ids, and which tokens end a response.

One object, made from the tokenizer of the model folder, used by the rollout, by PTX and by the evaluation alike, so
that no two of them can render a prompt differently. The template's hash is stored in every checkpoint: a run that is
resumed with another template would silently train another policy, so it is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from gyms.api import Message, message

__all__ = ["ChatFormat"]


class ChatFormat:
    """Renders chat messages to token ids with the tokenizer of one model folder.

    Args:
        model_folder: Hugging Face folder with a tokenizer.
        use_template: render with the tokenizer's chat template; False joins the messages' contents as they are.
        system_prompt: put before prompts that do not begin with a system message of their own; None adds nothing, and
            the template may then add its default.

    Raises:
        ValueError: the folder has no tokenizer, no chat template where one is wanted, or no end token.
    """

    def __init__(self, model_folder: Path, *, use_template: bool, system_prompt: str | None = None) -> None:
        from transformers import AutoTokenizer

        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(str(model_folder))
        except (OSError, ValueError) as error:
            raise ValueError(f"model.path = {model_folder} has no tokenizer that can be loaded: {error}") from error
        self.tokenizer = tokenizer
        self.use_template = use_template
        self.system_prompt = system_prompt
        if use_template and not tokenizer.chat_template:
            raise ValueError(
                f"model.path = {model_folder} has no chat template; set model.chat_template = false to use bare prompts"
            )
        self.end_token_ids = self._end_token_ids(model_folder)

    def _end_token_ids(self, model_folder: Path) -> tuple[int, ...]:
        """End tokens of the tokenizer and of generation_config.json, sorted. Sampled ones are part of the loss."""
        found: set[int] = set()
        if self.tokenizer.eos_token_id is not None:
            found.add(int(self.tokenizer.eos_token_id))
        generation = model_folder / "generation_config.json"
        if generation.is_file():
            listed = json.loads(generation.read_text()).get("eos_token_id")
            found.update([] if listed is None else [listed] if isinstance(listed, int) else listed)
        if not found:
            raise ValueError(f"model.path = {model_folder} names no end-of-text token; set eos_token in its tokenizer")
        return tuple(sorted(found))

    @property
    def end_token_id(self) -> int:
        """The token that closes an assistant message in training data."""
        eos = self.tokenizer.eos_token_id
        return int(eos) if eos is not None else self.end_token_ids[0]

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of a prompt, up to where the assistant begins to write."""
        if self.system_prompt is not None and not (messages and messages[0]["role"] == "system"):
            messages = [message("system", self.system_prompt), *messages]
        if self.use_template:
            text = self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
        else:
            text = "".join(m["content"] for m in messages)
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def response_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of an assistant message as training data: its text and the end token."""
        return (*self.tokenizer.encode(text, add_special_tokens=False), self.end_token_id)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of token ids, special tokens left out."""
        return self.tokenizer.decode(list(token_ids), skip_special_tokens=True)

    @cached_property
    def template_hash(self) -> str:
        """Names how prompts are rendered: template, end tokens and vocabulary."""
        facts = {
            "template": self.tokenizer.chat_template if self.use_template else None,
            "end_token_ids": self.end_token_ids,
            "vocabulary": len(self.tokenizer),
            **({} if self.system_prompt is None else {"system_prompt": self.system_prompt}),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
