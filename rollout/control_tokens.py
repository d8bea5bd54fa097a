"""Text that merely looks like a control token: how it is encoded as the text that it is.

A tokenizer reads `<|im_end|>` as the token that ends a turn, wherever it stands. In a task, an observation or a curated
answer it is text, and read as a token it would let data end turns, open new ones and forge roles. So: *only the chat
template writes control tokens; whatever stands inside a message is text.*

The template runs twice over a prompt that holds such text: once as it is, and once with a stand-in of characters for
private use in the place of every such text. Where the two renderings differ by more than the stand-ins, the template
takes messages apart at these very texts, and the prompt is refused rather than guessed. What looks like a control
token in the second rendering was written by the template. Those places get names that only a copy of the tokenizer
knows, which has its control tokens under those names and nothing under the old ones: one pass over the whole prompt, so
that spaces, normalisers and merges work as they always do. Encoding the pieces between control tokens one by one, or
with `split_special_tokens`, would not do: tokenizers that treat the beginning of a text differently do so at every
piece, and models whose vocabulary or merges hold `</s>` find the token in plain text all the same.

Prompts without such text, which are nearly all, never get here: they are encoded as they always were.

Left out: tokens that were added but are not marked special (`<think>`, `<tool_call>` in many models) keep being read
wherever they stand, since models write and read them as part of their text. And a text that becomes a control token
only together with what the template puts right beside it; templates put a line break or a token there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

__all__ = ["ControlTokens"]

PRIVATE_USE = range(0x100000, 0x10FFFE)
"""Plane 16: characters that no text has a meaning for; those that a prompt holds all the same are not used for it."""


class ControlTokens:
    """The special tokens of one tokenizer, and how texts that hold their names are encoded.

    Args:
        tokenizer: a tokenizer of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        special = {i: token for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._tokenizer = tokenizer
        self._ids = tuple(special)
        self.texts = tuple(token.content for token in special.values())
        """What stands for each special token in a text."""
        self._number = {text: n for n, text in enumerate(self.texts)}
        self._copies: dict[str, Any] = {}
        longest_first: list[str] = sorted(self.texts, key=lambda text: -len(text))
        self._pattern = re.compile("|".join([re.escape(text) for text in longest_first]) or r"(?!)")
        self._normalizes = any(token.normalized for token in special.values())

    def occur_in(self, text: str) -> bool:
        """Whether the tokenizer would find a control token in `text`."""
        if self._pattern.search(text):
            return True
        return self._normalizes and self._normalizer is not None and self._occur_normalized(text)

    def defaced(self, text: str) -> str:
        """The text with a space behind the first character of whatever looks like a control token."""
        return self._pattern.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)

    def encode_text(self, text: str) -> list[int]:
        """Token ids of `text`, none of them a control token."""
        (mark,) = _unused_characters([text], 1)
        return self._encode(text, mark)

    def encode_rendered(self, rendered: str, contents: Sequence[str], render: Callable[[list[str]], str]) -> list[int]:
        """Token ids of a rendered prompt, in which only what the template wrote becomes control tokens.

        Args:
            rendered: what `render(contents)` gave.
            contents: of the messages, and of whatever else it shows of the data.
            render: the template, as a function of the contents.

        Raises:
            ValueError: the template takes the messages apart at the text of a control token.
        """
        keep, hide = _unused_characters([rendered, *contents], 2)
        hidden = render([self._renamed(content, hide) for content in contents])
        if self._restored(hidden, hide) != rendered:
            found = next(match[0] for content in contents for match in self._pattern.finditer(content))
            raise ValueError(
                f"a message or a tool holds the text of the special token {found!r}, at which the chat template of "
                "the model takes them apart; take the text out of the data"
            )
        return self._encode(self._restored(self._renamed(hidden, keep), hide), keep)

    def _renamed(self, text: str, mark: str) -> str:
        return self._pattern.sub(lambda match: _name(self._number[match[0]], mark), text)

    def _restored(self, text: str, mark: str) -> str:
        return re.sub(f"{mark}([0-9]+){mark}", lambda match: self.texts[int(match[1])], text)

    def _encode(self, text: str, mark: str) -> list[int]:
        if mark not in self._copies:
            self._copies = {mark: self._copy(mark)}  # one is enough: the mark changes only where a text holds it
        return self._copies[mark].encode(text, add_special_tokens=False).ids

    def _copy(self, mark: str) -> Any:
        """The tokenizer with its control tokens under the names that `_renamed(text, mark)` gives them."""
        from tokenizers import Tokenizer

        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ValueError(
                "a message holds the text of a special token, and the tokenizer of model.path, which is not of the "
                "`tokenizers` library, cannot encode it as text; take the text out of the data"
            )
        facts = json.loads(backend.to_str())
        names = {text: _name(n, mark) for n, text in enumerate(self.texts)}
        for token in facts["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"]) if token["special"] else token["content"]
        facts |= {"truncation": None, "padding": None, "post_processor": None, "model": _model(facts["model"], names)}
        copy = Tokenizer.from_str(json.dumps(facts))
        assert [copy.token_to_id(name) for name in names.values()] == list(self._ids)
        return copy

    @cached_property
    def _normalizer(self) -> Any:
        return getattr(getattr(self._tokenizer, "backend_tokenizer", None), "normalizer", None)

    @cached_property
    def _normalized_texts(self) -> tuple[str, ...]:
        return tuple(filter(None, (self._normalizer.normalize_str(text) for text in self.texts)))

    def _occur_normalized(self, text: str) -> bool:
        """Tokens marked `normalized` are found in the normalised text: lower case, compatibility forms."""
        normalized = self._normalizer.normalize_str(text)
        return any(token in normalized for token in self._normalized_texts)


def _name(number: int, mark: str) -> str:
    return f"{mark}{number}{mark}"


def _unused_characters(texts: Iterable[str], num: int) -> list[str]:
    """The first characters for private use that none of the texts holds."""
    used = set().union(*texts)

    def unused() -> Iterator[str]:
        return (chr(code) for code in PRIVATE_USE if chr(code) not in used)

    found = [character for character, _ in zip(unused(), range(num), strict=False)]
    if len(found) < num:
        raise ValueError("a message holds every character for private use there is, beside the text of a special token")
    return found


def _model(model: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A tokenizer's model whose vocabulary knows `names` by their new names only, and cannot merge the old ones."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {names.get(text, text): i for text, i in vocabulary.items()}
    else:  # Unigram: pairs of piece and score
        model["vocab"] = [[names.get(text, text), score] for text, score in vocabulary]
    if model.get("unk_token") is not None:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        pairs = (merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"])
        model["merges"] = [pair for pair in pairs if not names.keys() & {*pair, "".join(pair)}]
    return model
