"""How a task becomes token ids, which tokens end a response, and what stands between two turns of an episode.

One object, made from the tokenizer of the model folder, used by the rollout, by PTX and by the evaluation alike, so
that no two of them can render a prompt differently. The template's hash and the tokenizer's are stored in every
checkpoint: a run that is resumed with another one would silently train another policy, so it is refused.

Only the template writes control tokens: their names inside a message are text (`rollout/control_tokens.py`).

*Turns are tokens in, tokens out.* What the policy sampled is never rendered again. Between its turn and its next one
stands what the template puts there: the prompt, a stand-in for the turn and the observations are rendered, and what
comes behind the stand-in is encoded. The template's token that ends the turn is left out, since the policy's own
stands there. So the policy sees its own turns as it wrote them, but for thoughts that the template leaves out of
earlier turns (rollout/past_turns.py): from there on the context is another one, in which such a turn is what was
sampled behind its thoughts, opened as the template opens a turn of the past.

*Tools* are shown by the template where it knows them and writes calls in a form that is read, else by a system message
(`tool_calls.tools_as_text`); answers to calls have the role `tool` where the template renders it, else they are user
messages in `<tool_response>`, one message for several where the template wants user and assistant in turn. A bare
prompt shows neither: there an observation is its text and a line break, and the task's own prompt says what there is.

A template is code that came with the model. What it raises becomes one line that says what was rendered; `check`
renders what every run needs, so that a template that cannot do it is refused before anything starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from gyms.api import Message, Tool, Turn, message
from gyms.response import Response, marks_of_template
from rollout.context import Round
from rollout.control_tokens import ControlTokens
from rollout.messages import as_user, check_message, check_text, joined, texts_of, with_texts
from rollout.past_turns import FIELD, RESULT, PastTurns
from rollout.template import apply_template, tokenizer_hash
from rollout.thoughts import Thoughts
from rollout.tool_calls import FORMATS, format_of_template, read_turn, reads_calls_of, tools_as_text
from rollout.types import Sample

__all__ = ["ChatFormat"]

STAND_IN = "K2RL-STANDS-IN-FOR-A-TURN"
"""Stands for what the policy wrote where only what comes behind it is wanted."""
PROBE_TOOL = Tool(name="probe", description="K2RL-PROBE", parameters={"type": "object", "properties": {}})

_Rendered = tuple[str, Sequence[int] | None]
"""A text, and its token ids where the tokenizer by itself would read control tokens into it."""


class ChatFormat:
    """Renders chat messages to token ids with the tokenizer of one model folder.

    Args:
        model_folder: Hugging Face folder with a tokenizer.
        use_template: render with the tokenizer's chat template; False joins the messages' contents as they are.
        system_prompt: put before prompts that do not begin with a system message of their own; None adds nothing, and
            the template may then add its default.
        tool_format: how the model writes tool calls (`rollout.tool_calls.FORMATS`); None: as its template says.
        thoughts: what opens and what closes its thoughts, or nothing for a model without; None: the marks that its
            template shows, and every pair in use where it shows none.
        keeps_thoughts: leave the thoughts of earlier turns in, whatever the template does with them.

    Raises:
        ValueError: the folder has no tokenizer, no chat template where one is wanted, or no end token.
    """

    def __init__(
        self,
        model_folder: Path,
        *,
        use_template: bool,
        system_prompt: str | None = None,
        tool_format: str | None = None,
        thoughts: Sequence[str] | None = None,
        keeps_thoughts: bool = False,
    ) -> None:
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
        template = tokenizer.chat_template if use_template else None
        self.tool_format, self._is_told_format = tool_format or format_of_template(template), tool_format is not None
        marks = marks_of_template(template) if thoughts is None else [(thoughts[0], thoughts[1])] if thoughts else []
        self.thoughts = Thoughts(tokenizer, marks, self.end_token_ids)
        self._replies: WeakKeyDictionary[Round, dict[bool, tuple[int, ...]]] = WeakKeyDictionary()
        follows = use_template and marks and not keeps_thoughts
        self._past = PastTurns(self._template, self.thoughts, in_field=FIELD in str(template)) if follows else None

    def _end_token_ids(self, model_folder: Path) -> tuple[int, ...]:
        """End tokens of the tokenizer and of generation_config.json, sorted. Sampled ones are part of the loss."""
        eos = self.tokenizer.eos_token_id
        found: set[int] = set() if eos is None else {int(eos)}
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
            ValueError: the template cannot, or leaves the text out.
        """
        if not self.use_template:
            return
        question = [message("user", "What is 1 + 1?")]
        try:
            if question[0]["content"] not in self._render(question):  # some want a list of parts, of text and images
                raise ValueError("the chat template of model.path leaves out what a message says in plain text")
        except ValueError as error:
            raise ValueError(
                f"{error}; give model.path a template that renders a user message without tools, or set "
                "model.chat_template = false to use bare prompts"
            ) from error
        if self.system_prompt is None:
            return
        try:
            if self.system_prompt.strip() not in self._render(self._with_system(question)):
                raise ValueError("the chat template of model.path leaves system messages out")
        except ValueError as error:
            raise ValueError(
                f"model.system_prompt is set, but {error}; remove it, or have the gym put it into its user messages"
            ) from error

    def check_turns(self) -> None:
        """Render an episode of two turns, and where thoughts are left out of earlier ones, of more.

        Raises:
            ValueError: the template cannot, leaves out what an environment said, or writes the past in a way that
                cannot be followed.
        """
        if not self.use_template:
            return
        if self._past is not None:
            self._past.check(self._shown([RESULT])[0])
        for said in (message("user", RESULT["content"]), RESULT):
            try:
                shown = self._between([message("user", "What is 1 + 1?")], [said], [PROBE_TOOL])
            except ValueError as error:
                raise ValueError(
                    f"an environment takes many turns, but {error}; give model.path a template that renders several "
                    "turns, or set model.chat_template = false"
                ) from error
            if said["content"] not in shown:
                raise ValueError(
                    f"an environment takes many turns, but the chat template of model.path leaves messages of the role "
                    f"{said['role']} behind an assistant's message out; give it a template that renders several turns"
                )

    def prompt_ids(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), *, is_past: bool = False, alone: bool = False
    ) -> tuple[int, ...]:
        """Token ids of a prompt, up to where the assistant begins to write.

        Args:
            tools: of the task, which the prompt shows.
            is_past: what it writes is an earlier turn, without its thoughts.
            alone: without the run's system prompt.

        Raises:
            ValueError: messages that are none, or that the template refuses.
        """
        rendered, special = self._rendered(messages, tools, is_past=is_past, alone=alone)
        return tuple(special) if special is not None else self._encode(rendered)

    def reply_ids(
        self,
        messages: Sequence[Message],
        reply: Sequence[Message],
        tools: Sequence[Tool] = (),
        *,
        is_past: bool = False,
    ) -> tuple[int, ...]:
        """Token ids of what stands between the policy's turn and its next one.

        Args:
            messages: the prompt of the episode.
            reply: what the environment said, at least one message.
            tools: of the task.
            is_past: the next turn is an earlier one, without its thoughts.

        Raises:
            ValueError: messages that the template refuses, or a template that keeps no turn as it is.
        """
        render = partial(self._between, messages, is_past=is_past)
        text = render(reply, tools)
        check_text(text)
        try:
            special = self._special_ids(text, reply, tools, render)
        except ValueError:  # the template takes such text apart; what a model made a tool say must not end the run
            defaced = [self._control.defaced(one) for one in texts_of(reply, tools)]
            return self._encode(render(*with_texts(reply, tools, defaced)))
        return self._encode(text) if special is None else tuple(special)

    def left_out(
        self, messages: Sequence[Message], rounds: Sequence[Round], tools: Sequence[Tool] = ()
    ) -> frozenset[int]:
        """The numbers of the turns whose thoughts the next turn is not to see."""
        if self._past is None or self._past.openings is None:
            return frozenset()
        thinking = {number for number, one in enumerate(rounds) if self._past.answer_ids(one) is not None}
        if not thinking:
            return frozenset()
        replies = [self._shown(one.reply) for one in rounds]
        told = self._with_system(messages, tools)
        return self._past.left_out(told, replies, tools if self._shows_tools else ()) & thinking

    def context_ids(
        self,
        messages: Sequence[Message],
        rounds: Sequence[Round],
        tools: Sequence[Tool] = (),
        *,
        without: frozenset[int],
    ) -> tuple[int, ...]:
        """Token ids in front of the next turn: the prompt and all rounds.

        Args:
            without: numbers of the turns whose thoughts are left out, as `left_out` says.
        """
        ids = [self.prompt_ids(messages, tools, is_past=0 in without)]
        for number, one in enumerate(rounds):
            answer_ids = self._past.answer_ids(one) if self._past and number in without else None
            ids += [one.turn_ids if answer_ids is None else answer_ids]
            known, is_past = self._replies.setdefault(one, {}), number + 1 in without
            if is_past not in known:
                known[is_past] = self.reply_ids(messages, one.reply, tools, is_past=is_past)
            ids += [known[is_past]]
        return tuple(token for part in ids for token in part)

    def read_response(self, sample: Sample) -> Response:
        """What counts of a sampled response: its thoughts are cut here, and nowhere else."""
        return self.thoughts.read(sample)

    def read_turn(self, sample: Sample, tools: Sequence[Tool], *, number: int) -> Turn:
        """The turn of an episode that a sampled response is."""
        said = self.thoughts.read(sample, keep_special=FORMATS[self.tool_format].uses_special_tokens)
        return read_turn(said, tools, tool_format=self.tool_format, number=number, is_truncated=sample.is_truncated)

    def _between(
        self, messages: Sequence[Message], reply: Sequence[Message], tools: Sequence[Tool], *, is_past: bool = False
    ) -> str:
        """What the template puts between a turn's last token and the first of the next."""
        if not self.use_template:
            return "".join(f"{m['content']}\n" for m in reply)
        asked, shown, stand_in = self._with_system(messages, tools), self._shown(reply), STAND_IN
        while any(stand_in in text for text in texts_of([*asked, *shown], tools)):  # it would be taken for the turn
            stand_in += "-"
        rendered = self._render([*asked, message("assistant", stand_in), *shown], tools, is_past=is_past)
        before, found, text = rendered.rpartition(stand_in)
        if not found or stand_in in before:
            raise ValueError("the chat template of model.path does not keep an assistant's message as it is")
        ends = (self.tokenizer.convert_ids_to_tokens(i) for i in self.end_token_ids)
        return next((text.removeprefix(end) for end in ends if text.startswith(end)), text)

    def _shown(self, reply: Sequence[Message]) -> list[Message]:
        """What an environment said, in roles and in an order that the template renders."""
        shown = [m if m["role"] != "tool" or self._renders_results else as_user(m) for m in reply]
        return shown if self._renders_neighbours else joined(shown)

    @cached_property
    def _shows_tools(self) -> bool:
        """Whether the template tells the model of its tools, and of no form of calls that is not read."""
        is_read = self._is_told_format or reads_calls_of(self._template, self.tool_format)
        return PROBE_TOOL.description in self._tried() and is_read

    @cached_property
    def _renders_results(self) -> bool:
        """Whether the template renders the answers to tool calls behind an assistant's message of plain text."""
        return self._renders([RESULT, {**RESULT, "content": "K2RL-AGAIN"}])

    @cached_property
    def _renders_neighbours(self) -> bool:
        """Whether it renders two messages of a user in a row."""
        return self._renders([message("user", RESULT["content"]), message("user", "K2RL-AGAIN")])

    def _renders(self, said: Sequence[Message]) -> bool:
        shown = self._tried(message("assistant", STAND_IN), *said)
        return all(m["content"] in shown for m in said)

    def _tried(self, *said: Message) -> str:
        """What the template makes of these messages behind a question; nothing where it refuses them."""
        try:
            return self._template([message("user", "1"), *said], [PROBE_TOOL])
        except Exception:  # the template is the model's code, and may raise anything
            return ""

    def prompt_lengths(
        self, prompts: Sequence[Sequence[Message]], tools: Sequence[Sequence[Tool]] | None = None
    ) -> list[int | ValueError]:
        """Numbers of tokens that `prompt_ids` gives, or what it raises; quicker than one by one."""
        given = [(prompt, ()) for prompt in prompts] if tools is None else list(zip(prompts, tools, strict=True))
        return self._lengths(lambda pair: self._rendered(*pair), given)

    def response_lengths(self, texts: Sequence[str]) -> list[int | ValueError]:
        """Numbers of tokens that `response_ids` gives, or what it raises; quicker than one by one."""
        return [one + 1 if isinstance(one, int) else one for one in self._lengths(self._checked, texts)]

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

    def _rendered(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), *, is_past: bool = False, alone: bool = False
    ) -> _Rendered:
        """The prompt as text, and its token ids where that text does not say all of it."""
        if not messages:
            raise ValueError("a prompt without messages")
        for number, given in enumerate(messages):
            check_message(number, given)
        messages = messages if alone else self._with_system(messages, tools)
        render = partial(self._render, is_past=is_past)
        rendered = render(messages, tools)
        if not self.use_template:
            return self._checked(rendered)
        check_text(rendered)
        return rendered, self._special_ids(rendered, messages, tools, render)

    def _special_ids(
        self, text: str, messages: Sequence[Message], tools: Sequence[Tool], render: Callable[..., str]
    ) -> list[int] | None:
        """Token ids of what `render(messages, tools)` gave, where these hold what only looks like control tokens."""
        texts = texts_of(messages, tools)
        if not any(map(self._control.occur_in, texts)):
            return None
        if not self.use_template:
            return self._control.encode_text(text)
        return self._control.encode_rendered(text, texts, lambda told: render(*with_texts(messages, tools, told)))

    def response_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of an assistant message as training data: its text and the end token.

        Raises:
            ValueError: half a surrogate pair in the text.
        """
        text, special = self._checked(text)
        return (*(self._encode(text) if special is None else special), self.end_token_id)

    def closing_ids(self, prompt: Sequence[Message], answer: str) -> tuple[int, ...]:
        """Token ids between a prompt that opens thoughts and a curated answer that does not close them; else none."""
        return self.thoughts.closing_ids(self._prompt_end if self.use_template else prompt[-1]["content"], answer)

    @cached_property
    def _prompt_end(self) -> str:
        """What the template puts at the end of a prompt, and something before it."""
        return self._render([message("user", "What is 1 + 1?")])

    def _checked(self, text: str) -> _Rendered:
        """A text that no template renders, and its token ids where it holds what only looks like control tokens."""
        check_text(text)
        return text, self._control.encode_text(text) if self._control.occur_in(text) else None

    def _with_system(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> Sequence[Message]:
        """The messages behind the run's system prompt, if they have none; it lists tools that the template does not."""
        own = messages[0]["content"] if messages and messages[0]["role"] == "system" else None
        told = self.system_prompt if own is None else own
        if tools and self.use_template and not self._shows_tools:
            listed = tools_as_text(tools, tool_format=self.tool_format)
            told = f"{told}\n\n{listed}" if told else listed
        if told is None or told == own:
            return messages
        return [message("system", told), *(messages if own is None else messages[1:])]

    def _render(self, messages: Sequence[Message], tools: Sequence[Tool] = (), *, is_past: bool = False) -> str:
        if not self.use_template:
            return "".join(m["content"] for m in messages)
        try:
            text = self._template(messages, tools if tools and self._shows_tools else ())
            return self._past.opened(text) if is_past and self._past else text
        except Exception as error:  # the template is the model's code, and may raise anything
            roles = ", ".join(m["role"] for m in messages) or "none"
            told = " ".join(str(error).split())[:300]
            raise ValueError(
                f"the chat template of model.path refuses messages of the roles {roles}: {type(error).__name__}: {told}"
            ) from error

    def _template(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool], *, opens: bool = True) -> str:
        return apply_template(self.tokenizer, messages, tools, opens=opens)

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

    @cached_property
    def fingerprint(self) -> dict[str, str]:
        """What decides which tokens a prompt becomes."""
        return {"chat_template": self.template_hash, "tokenizer": tokenizer_hash(self.tokenizer)}
