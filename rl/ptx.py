"""Curated conversations for the PTX loss and the warm-up: where they come from, how they become tokens, which are next.

Sources: a gym of the run (its training tasks with their worked answers), a file, or `datasets`; rows of `messages`,
or of a published form of conversations (gyms/row_formats/chat.py). Loss falls on assistant tokens only, their end token
included. A conversation is tokenised piece by piece, exactly as it would be at rollout time (prompt first, then what
the assistant wrote), so that training and sampling never disagree on tokens. Of an environment the worked answers are
whole episodes, played in this process: its gold turns, as the model would write them, and what they were answered.

Which conversations update u sees is a pure function of (seed, stream, u): epochs are keyed permutations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gyms.api import Environment, Gym, Message, Task, Tool, message
from gyms.columns import Reads, RowSettings, mapped_rows
from gyms.episodes.arguments import check_tools
from gyms.episodes.checks import play
from gyms.permutation import candidates, permute
from gyms.rows import Located, make_all, read_file, read_source
from rollout.chat import ChatFormat
from rollout.tool_calls import written

__all__ = ["TRAIN_STREAM", "WARMUP_STREAM", "Conversation", "PtxData", "PtxSample", "load_conversations", "tokenise"]


class Conversation(tuple[Message, ...]):
    """Chat messages, the last one the assistant's, and the tools that its prompt shows."""

    tools: tuple[Tool, ...] = ()


_ROLES = ("system", "user", "assistant", "tool")
READS = Reads(kind="conversations", wanted=("messages",), own=(("messages",),))

TRAIN_STREAM, WARMUP_STREAM = 0, 1
"""The PTX loss of the steps and the warm-up see the conversations in orders of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PtxSample:
    """A tokenised conversation."""

    prefix: tuple[int, ...]
    """Tokens before the first assistant message, at least one."""
    token_ids: tuple[int, ...]
    """[T] tokens from there on."""
    loss_mask: tuple[bool, ...]
    """[T] True on assistant tokens and their end tokens."""


class PtxData:
    """A sequence of conversations, tokenised when asked for.

    Args:
        conversations: lists of chat messages, each ending with an assistant message.
        chat: the tokenizer and template of the policy.
        max_tokens: longer conversations are of no use.
        rule: what becomes of conversations of no use (too long, or not to be rendered). "refuse": an error, with their
            number, where one is asked for. "drop": a batch has others in their place.
    """

    def __init__(
        self,
        conversations: Sequence[Conversation],
        chat: ChatFormat,
        *,
        max_tokens: int,
        rule: Literal["refuse", "drop"] = "refuse",
    ) -> None:
        if not conversations:
            raise ValueError("ptx.source holds no conversations")
        self._conversations = conversations
        self._chat = chat
        self._rule = rule
        self._problems: dict[int, str] = {}
        self._usable: set[int] = set()
        self.max_tokens = max_tokens

    def __len__(self) -> int:
        return len(self._conversations)

    def __getitem__(self, index: int) -> PtxSample:
        sample = tokenise(self._conversations[index], self._chat)
        if problem := self._too_long(len(sample.prefix) + len(sample.token_ids)):
            raise ValueError(f"ptx conversation {index} {problem}")
        return sample

    def _too_long(self, length: int) -> str:
        if length <= self.max_tokens:
            return ""
        return (
            f"has {length} tokens, more than {self.max_tokens} (the smaller of model.context_length and "
            "learner.max_microbatch_tokens)"
        )

    def problems(self, indices: Sequence[int]) -> dict[int, str]:
        """Those of the conversations that are of no use, and why."""
        new = [i for i in indices if i not in self._problems and i not in self._usable]
        simple: dict[int, Conversation] = {}
        for i in new:
            try:
                conversation = self._conversations[i]
                if [m["role"] for m in conversation].index("assistant") == len(conversation) - 1 > 0:
                    simple[i] = conversation
                else:
                    _ = self[i]
                    self._usable.add(i)
            except ValueError as error:
                self._problems[i] = str(error).removeprefix(f"ptx conversation {i} ")
        prompts = self._chat.prompt_lengths(
            [conversation[:-1] for conversation in simple.values()], [found.tools for found in simple.values()]
        )
        closing = [len(self._chat.closing_ids(found[:-1], found[-1]["content"])) for found in simple.values()]
        answers = self._chat.response_lengths([conversation[-1]["content"] for conversation in simple.values()])
        for i, prompt, closes, answer in zip(simple, prompts, closing, answers, strict=True):
            if isinstance(prompt, ValueError) or isinstance(answer, ValueError):
                problem = str(prompt if isinstance(prompt, ValueError) else answer)
            else:
                problem = _no_prefix(prompt) or self._too_long(prompt + closes + answer)
            if problem:
                self._problems[i] = problem
            else:
                self._usable.add(i)
        return {i: self._problems[i] for i in indices if i in self._problems}

    def batch(
        self, update: int, *, seed: int, stream: int, batch_size: int, num_conversations: int | None = None
    ) -> list[PtxSample]:
        """The conversations of update number `update` (from 0) of a stream; every epoch shows each one once.

        With `num_conversations` an epoch is a fixed sample of that many, the same for every update of a seed.
        """
        first, size = update * batch_size, min(num_conversations or len(self), len(self))
        return [self[self.drawn(i, size, seed=seed, stream=stream)] for i in range(first, first + batch_size)]

    def drawn(self, position: int, size: int, *, seed: int, stream: int) -> int:
        """The conversation at a position of a stream whose epochs are a fixed sample of `size`.

        Raises:
            ValueError: those of no use are dropped, and none of the sample is of use.
        """
        epoch, offset = divmod(position, size)
        index = 0
        for place in candidates(offset, size, f"ptx {seed} {stream} {epoch}"):
            index = place if size == len(self) else permute(place, len(self), f"ptx sample {seed} {stream}")
            if self._rule == "refuse" or not self.problems([index]):
                return index
        raise ValueError(f"of {size} ptx conversations none can be used: conversation {index} {self._problems[index]}")


def tokenise(conversation: Sequence[Message], chat: ChatFormat) -> PtxSample:
    """A conversation to tokens and loss mask.

    Raises:
        ValueError: no assistant message, or a template that does not keep what came before.
    """
    turns = [i for i, m in enumerate(conversation) if m["role"] == "assistant"]
    if not turns or turns[-1] != len(conversation) - 1:
        raise ValueError("a ptx conversation must end with an assistant message")
    prompt, tools = conversation[: turns[0]], getattr(conversation, "tools", ())
    prefix = chat.prompt_ids(prompt, tools)
    if problem := _no_prefix(len(prefix)):
        raise ValueError(problem)
    if len(turns) == 1 and turns[0] == len(conversation) - 1:
        told = conversation[-1]["content"]
        tokens = (*chat.closing_ids(prompt, told), *chat.response_ids(told))
        return PtxSample(prefix=prefix, token_ids=tokens, loss_mask=(True,) * len(tokens))
    token_ids: list[int] = []
    loss_mask: list[bool] = []
    for last, i in zip([-1, *turns], turns, strict=False):
        between = chat.reply_ids(prompt, conversation[last + 1 : i], tools) if token_ids else ()
        if not tools and chat.use_template and chat.prompt_ids(conversation[:i]) != (*prefix, *token_ids, *between):
            raise ValueError(
                "has several turns, and the chat template of model.path rewrites earlier messages (as those do that "
                "strip thoughts); use single-turn conversations in ptx.source with it"
            )
        told = conversation[i]["content"]
        answer = (*chat.closing_ids(conversation[:i], told), *chat.response_ids(told))
        token_ids += [*between, *answer]
        loss_mask += [False] * len(between) + [True] * len(answer)
    return PtxSample(prefix=prefix, token_ids=tuple(token_ids), loss_mask=tuple(loss_mask))


def _no_prefix(length: int) -> str:
    return "" if length else "nothing stands before the assistant's first message"


class GymConversations(Sequence[Conversation]):
    """Gyms' training tasks with their worked answers, as conversations: one of each gym in turn, smaller gyms again.

    Args:
        left_out: ids, by gym, of tasks whose worked answer is known to be wrong.
    """

    def __init__(
        self, gyms: Mapping[str, Gym], *, tool_format: str, left_out: Mapping[str, Collection[str]] | None = None
    ) -> None:
        self._tool_format = tool_format
        self._gyms = [(gym, _without(gym.tasks("train"), (left_out or {}).get(name, ()))) for name, gym in gyms.items()]
        for name, (gym, tasks) in zip(gyms, self._gyms, strict=True):
            if not len(tasks) or self._worked(gym, tasks[0]) is None:
                raise ValueError(f"ptx.source.gym = {name!r} has no worked answers ({_gold(gym)} returns None)")

    def __len__(self) -> int:
        return len(self._gyms) * max(len(tasks) for _, tasks in self._gyms)

    def __getitem__(self, index):  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)  # where a loop over all of them ends
        place, which = divmod(index, len(self._gyms))
        gym, tasks = self._gyms[which]
        task = tasks[place % len(tasks)]
        worked = self._worked(gym, task)
        if worked is None:
            raise ValueError(f"task {task.id!r} has no worked answer (its gym's {_gold(gym)} returns None)")
        return worked

    def _worked(self, gym: Gym, task: Task) -> Conversation | None:
        if not isinstance(gym, Environment):
            gold = gym.gold(task)
            return None if gold is None else Conversation((*task.prompt, message("assistant", gold)))
        turns, tools = gym.gold_turns(task), tuple(gym.tools(task))
        if turns is None:
            return None
        said: list[Message] = list(task.prompt)
        for turn, reply in zip(turns, play(gym, task, turns).replies, strict=False):
            said += [message("assistant", written(turn, tools, tool_format=self._tool_format)), *reply.messages]
        while said[-1]["role"] != "assistant":  # what the last turn was answered teaches nothing
            said.pop()
        found = Conversation(said)
        found.tools = tools
        return found


def _without(tasks: Sequence[Task], ids: Collection[str]) -> Sequence[Task]:
    return [task for task in tasks if task.id not in ids] if ids else tasks


def _gold(gym: Gym) -> str:
    return "gold_turns()" if isinstance(gym, Environment) else "gold()"


def load_conversations(
    *,
    gyms: Mapping[str, Gym] | None = None,
    jsonl: Path | None = None,
    dataset: str | None = None,
    split: str = "train",
    max_examples: int | None = None,
    seed: int = 0,
    tool_format: str = "hermes",
    left_out: Mapping[str, Collection[str]] | None = None,
) -> Sequence[Conversation]:
    """Conversations of exactly one source; `max_examples` of them, chosen by the seed.

    Args:
        tool_format: how worked episodes call tools (`rollout.tool_calls.FORMATS`).
        left_out: ids, by gym, of tasks whose worked answer is known to be wrong.

    Raises:
        ValueError: a malformed line (file and line number), an empty source, a data set without `messages`.
    """
    if gyms:
        source: Sequence[Conversation] = GymConversations(gyms, tool_format=tool_format, left_out=left_out)
    elif jsonl is not None:
        if not jsonl.is_file():
            raise ValueError(f"ptx.source.jsonl = {jsonl} does not exist")
        source = _read(read_file(jsonl), f"ptx.source.jsonl = {jsonl}")
    else:
        assert dataset is not None
        source = _read(read_source(dataset, "", split, instead="ptx.source.jsonl"), f"ptx.source.dataset = {dataset!r}")
    if max_examples is None or max_examples >= len(source):
        return source
    chosen = [permute(i, len(source), f"ptx subset {seed}") for i in range(max_examples)]
    return [source[i] for i in chosen]


def _read(rows: Iterable[Located], what: str) -> list[Conversation]:
    """Conversations of rows with `messages`, or of a published form of conversations."""
    mapped = mapped_rows(rows, RowSettings(), READS)
    found, _ = make_all(mapped, _checked, skip_malformed=None)
    if not found:
        raise ValueError(f"{what} holds no conversations")
    return found


def _names_its_call(said: Mapping[str, Any]) -> bool:
    return isinstance(said.get("tool_call_id"), str) and isinstance(said.get("name"), str)


def _checked(row: Mapping[str, Any], where: str) -> Conversation:
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        fault = 'want {"messages": [{"role": ..., "content": ...}, ...]}'
    elif not all(isinstance(m, Mapping) and isinstance(m.get("content"), str) for m in messages):
        fault = "a message needs `role` and a text `content`"
    elif unknown := [m.get("role") for m in messages if m.get("role") not in _ROLES]:
        fault = f"role {unknown[0]!r} is none of {', '.join(_ROLES)}"
    elif not all(_names_its_call(m) for m in messages if m["role"] == "tool"):
        fault = "a message of the role tool needs `tool_call_id` and `name`, and its row `tools`"
    elif messages[-1]["role"] != "assistant":
        fault = "the last message must be the assistant's"
    else:
        keys = ("role", "content", "tool_call_id", "name")
        found = Conversation({k: m[k] for k in (keys if m["role"] == "tool" else keys[:2])} for m in messages)
        try:
            found.tools = tuple(Tool(**tool) for tool in row.get("tools") or ())
            check_tools(found.tools)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}: `tools` are none: {error}") from None
        if not found.tools and any(m["role"] == "tool" for m in found):
            raise ValueError(f"{where}: a tool's answer, but the row has no `tools`")
        return found
    raise ValueError(f"{where}: not a conversation: {fault}")
