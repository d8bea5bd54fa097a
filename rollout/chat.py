"""How a task becomes token ids, and which tokens end a response.

One object, made from the tokenizer of the model folder, used by the rollout, by PTX and by the evaluation alike, so
that no two of them can render a prompt differently. The template's hash is stored in every checkpoint: a run that is
resumed with another template would silently train another policy, so it is refused.

Only the template writes control tokens: their names inside a message are text (`rollout/control_tokens.py`).

A template is code that came with the model. What it raises becomes one line that says what was rendered; `check`
renders what every run needs, so that a template that cannot do it is refused before anything starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from gyms.api import Message, message
from rollout.control_tokens import ControlTokens

__all__ = ["ChatFormat"]

ROLES = ("system", "user", "assistant")

_Rendered = tuple[str, Sequence[int] | None]
"""A text, and its token ids where the tokenizer by itself would read control tokens into it."""


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

    @cached_property
    def _control(self) -> ControlTokens:
        return ControlTokens(self.tokenizer)

    def check(self) -> None:
        """Render what every run renders: a user message, and model.system_prompt where it is set.

        Raises:
            ValueError: the template cannot, or leaves the system prompt out.
        """
        if not self.use_template:
            return
        question = [message("user", "What is 1 + 1?")]
        try:
            self._render(question)
        except ValueError as error:
            raise ValueError(
                f"{error}; give model.path a template that renders a user message without tools, or set "
                "model.chat_template = false to use bare prompts"
            ) from error
        if self.system_prompt is None:
            return
        try:
            is_shown = self.system_prompt.strip() in self._render(self._with_system(question))
        except ValueError as error:
            raise ValueError(
                f"model.system_prompt is set, but {error}; remove it, or have the gym put it into its user messages"
            ) from error
        if not is_shown:
            raise ValueError(
                "model.system_prompt is set, but the chat template of model.path leaves system messages out; remove "
                "it, or have the gym put it into its user messages"
            )

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of a prompt, up to where the assistant begins to write.

        Raises:
            ValueError: messages that are none, or that the template refuses.
        """
        rendered, special = self._rendered(messages)
        return tuple(special) if special is not None else self._encode(rendered)

    def prompt_lengths(self, prompts: Sequence[Sequence[Message]]) -> list[int | ValueError]:
        """Numbers of tokens that `prompt_ids` gives, or what it raises; quicker than one by one."""
        return self._lengths(self._rendered, prompts)

    def response_lengths(self, texts: Sequence[str]) -> list[int | ValueError]:
        """Numbers of tokens that `response_ids` gives, or what it raises; quicker than one by one."""
        lengths = self._lengths(self._checked, texts)
        return [length + 1 if isinstance(length, int) else length for length in lengths]

    def _lengths(self, rendered: Callable[[Any], _Rendered], given: Sequence[Any]) -> list[int | ValueError]:
        found: list[int | ValueError] = [0] * len(given)
        plain: dict[int, str] = {}
        for i, one in enumerate(given):
            try:
                text, special = rendered(one)
            except ValueError as error:
                found[i] = error
                continue
            if special is None:
                plain[i] = text
            else:
                found[i] = len(special)
        if plain:
            encoded = self.tokenizer(list(plain.values()), add_special_tokens=False)["input_ids"]
            for i, ids in zip(plain, encoded, strict=True):
                found[i] = len(ids)
        return found

    def _rendered(self, messages: Sequence[Message]) -> _Rendered:
        """The prompt as text, and its token ids where that text does not say all of it."""
        if not messages:
            raise ValueError("a prompt without messages")
        for number, given in enumerate(messages):
            _check_message(number, given)
        messages = self._with_system(messages)
        contents = [m["content"] for m in messages]
        rendered = self._render(messages)
        if not self.use_template:
            return self._checked(rendered)
        _check_text(rendered)
        if any(map(self._control.occur_in, contents)):
            return rendered, self._control.encode_rendered(rendered, contents, self._renderer(messages))
        return rendered, None

    def response_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of an assistant message as training data: its text and the end token.

        Raises:
            ValueError: half a surrogate pair in the text.
        """
        text, special = self._checked(text)
        return (*(self._encode(text) if special is None else special), self.end_token_id)

    def _checked(self, text: str) -> _Rendered:
        """A text that no template renders, and its token ids where it holds what only looks like control tokens."""
        _check_text(text)
        return text, self._control.encode_text(text) if self._control.occur_in(text) else None

    def _with_system(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self.system_prompt is None or (messages and messages[0]["role"] == "system"):
            return messages
        return [message("system", self.system_prompt), *messages]

    def _render(self, messages: Sequence[Message]) -> str:
        if not self.use_template:
            return "".join(m["content"] for m in messages)
        try:
            return self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
        except Exception as error:  # the template is the model's code, and may raise anything
            roles = ", ".join(m["role"] for m in messages) or "none"
            told = " ".join(str(error).split())[:300]
            raise ValueError(
                f"the chat template of model.path refuses messages of the roles {roles}: {type(error).__name__}: {told}"
            ) from error

    def _renderer(self, messages: Sequence[Message]) -> Callable[[list[str]], str]:
        return lambda contents: self._render([{**m, "content": c} for m, c in zip(messages, contents, strict=True)])

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

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


def _check_message(number: int, given: Message) -> None:
    """A message has a role that a template knows, and its content is text."""
    if not isinstance(given, Mapping) or given.keys() != {"role", "content"}:
        raise ValueError(f"message {number} is {given!r:.80}, expected a role and a content, and no more")
    if given["role"] not in ROLES:
        raise ValueError(f"message {number} has the role {given['role']!r:.40}, expected one of {', '.join(ROLES)}")
    if not isinstance(given["content"], str):
        raise ValueError(f"message {number} has a content of type {type(given['content']).__name__}, expected text")


def _check_text(text: str) -> None:
    """A lone surrogate is no character: no tokenizer takes it, and no file of UTF-8 can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half a surrogate pair (U+{ord(text[error.start]):04X}) is no text") from None
