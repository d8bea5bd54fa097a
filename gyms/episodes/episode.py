"""One attempt at a task over many turns: what the model says, what the environment answers, and the attempt itself.

*An episode is a function of (task, seed, turns).* It asks no clock, no global random generator and no other episode. So
a worker that died is replaced by replaying the turns to a new episode, a resumed run replays, and a stored episode is
scored again by replay.

*The host reads a turn once*: thoughts are cut, tool calls parsed, arguments checked against the tool's JSON schema
(gyms/episodes/arguments.py). A call that cannot be read reaches the episode all the same, without arguments: that is
the model's fault and no reason to mask anything. `refusal` writes the answer that tells the model what was wrong.

*Somebody whom a model plays* is a tool with a `persona`: before the environment sees the turn, the host has a model
answer the call, and puts what it said into the call (`Call.heard`). So a turn holds all that was said in it, and an
episode stays a function of its turns: a replay asks no model.

*Observations are messages.* A call is answered by one message of the role `tool` which names the call; what somebody
else says (a simulated user) is a message of the role `user`. None of it is ever in the loss.

Left out: messages with images; answers that come later than the turn that asked for them; tools that change during an
episode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gyms.score import Score, Status

__all__ = [
    "Call",
    "Episode",
    "Message",
    "OneTurn",
    "Reply",
    "Tool",
    "Turn",
    "Unplayable",
    "refusal",
    "tool_result",
    "unanswered",
]

Message = Mapping[str, str]
"""One chat message: `{"role": "system" | "user" | "assistant", "content": str}`; an answer to a tool call is
`{"role": "tool", "tool_call_id": str, "name": str, "content": str}`."""

OBSERVED_ROLES = ("tool", "user", "system")
"""Roles that an environment may speak in; the assistant's part is the policy's alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What the model may call; the host shows it by the model's own chat template.

    Example:
        Tool(
            name="add",
            description="Adds two whole numbers.",
            parameters={
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
                "additionalProperties": False,
            },
        )
    """

    name: str
    """1 to 64 ASCII letters, digits, `_` and `-`; unique within a task."""
    description: str
    """What it does, for the model."""
    parameters: Mapping[str, Any]
    """JSON schema (2020-12) of the arguments, of the type `object`; plain JSON data without remote references."""
    persona: str = ""
    """Whom a model plays to answer its calls, as that model is told; empty: the environment answers by itself. It is
    told what the call's arguments say, too, and nothing else: no state, and no earlier call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tool call of a turn.

    Example:
        Call(id="call_0", tool="add", arguments={"a": 17, "b": 25})
    """

    id: str
    """Names the call within its episode; the answer repeats it."""
    tool: str
    """The name that the model wrote, cut where it is long; where `arguments` is given, that of a tool of the task."""
    arguments: Mapping[str, Any] | None
    """As the tool's schema demands; None: no such tool, not JSON, or not what the schema says."""
    problem: str = ""
    """Why `arguments` is None, in one line."""
    heard: str | None = None
    """What the model said that plays the tool's persona; any text. None: no model was asked, as in checks, and the
    environment answers by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the model did at its turn, as the host read it.

    Example:
        Turn(text="The sum is 42.")
    """

    text: str
    """What it said, without thoughts and calls. For a gym of one turn: the whole response, which `score` reads."""
    calls: tuple[Call, ...] = ()
    """Its tool calls, in the order in which they were written."""
    is_truncated: bool = False
    """True where a budget cut the turn off: what it meant to say or to call may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the environment answers to a turn.

    Raises ValueError where a message is none that an environment may send: garbage is found where it was built. Half a
    surrogate pair, which no tokenizer and no file takes, becomes U+FFFD: a model can make a tool print one.

    Example:
        Reply(messages=(tool_result(call, "42"),))
    """

    messages: tuple[Message, ...] = ()
    """Observations, in the order in which the model sees them. Each call of the turn is answered by one message of the
    role `tool`, unless the episode is done."""
    is_done: bool = False
    """True: no further turn is asked for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", tuple(self.messages))
        for said in self.messages:
            role = said.get("role") if isinstance(said, Mapping) else None
            wanted = {"role", "content", "tool_call_id", "name"} if role == "tool" else {"role", "content"}
            is_message = (
                role in OBSERVED_ROLES and set(said) == wanted and all(isinstance(text, str) for text in said.values())
            )
            if not is_message:
                raise ValueError(
                    f"Reply.messages holds {said!r:.200}; expected a text with one of the roles {OBSERVED_ROLES}, and "
                    f"for a call's answer what tool_result(call, text) makes"
                )
        object.__setattr__(self, "messages", tuple({k: _whole(text) for k, text in m.items()} for m in self.messages))


class Episode(ABC):
    """One attempt at one task. Lives in one process, is used by one thread at a time and never pickled."""

    @abstractmethod
    def step(self, turn: Turn) -> Reply:
        """The answer to the next turn. Must survive any turn; raising is a fault of the environment, or of the
        service behind it (gyms.api.ServiceFailed). Not called again once a reply was done."""

    @abstractmethod
    def score(self) -> Score:
        """What the episode is worth so far: also asked when turns, tokens or time ran out. Changes nothing."""

    def close(self) -> None:  # noqa: B027 - an episode that holds nothing has nothing to give back
        """Give back what the episode holds: processes, files, threads. Called once, whatever happened."""


class OneTurn(Episode):
    """A gym of one turn as an episode: the turn's text is the response."""

    def __init__(self, score: Callable[[str], Score], no_answer: Score) -> None:
        """Args:
        score: the gym's score of a complete response.
        no_answer: the score while there is no complete response.
        """
        self._score = score
        self._no_answer = no_answer
        self._response: str | None = None

    def step(self, turn: Turn) -> Reply:
        self._response = None if turn.is_truncated else turn.text
        return Reply(is_done=True)

    def score(self) -> Score:
        return self._no_answer if self._response is None else self._score(self._response)


class Unplayable(Episode):
    """An attempt at a malformed task: its first turn ends it, and it is masked."""

    def __init__(self, problem: str) -> None:
        """Args:
        problem: what is wrong with the task, in one line.
        """
        self._problem = problem

    def step(self, turn: Turn) -> Reply:
        return Reply(is_done=True)

    def score(self) -> Score:
        return Score(status=Status.BAD_TASK, detail=self._problem)


def tool_result(call: Call, content: str) -> Message:
    """The message that answers a call."""
    return {"role": "tool", "tool_call_id": call.id, "name": call.tool, "content": content}


def refusal(call: Call, tools: Sequence[Tool]) -> Message:
    """The answer to a call without arguments: what was wrong with it, and what the tool wants.

    Example:
        refusal(Call(id="call_0", tool="add", arguments=None, problem="'b' is a required property"), tools)
    """
    wanted = next((tool for tool in tools if tool.name == call.tool), None)
    if wanted is None and not call.tool and call.problem:  # what was written names no tool
        return tool_result(call, f"Error: {call.problem}.")
    if wanted is None:
        names = ", ".join(tool.name for tool in tools) or "none"
        return tool_result(call, f"Error: there is no tool {call.tool!r}. Tools: {names}.")
    problem = call.problem or "the arguments are not JSON, or not what the tool takes"
    return tool_result(call, f"Error: {problem}. {wanted.name} takes {_signature(wanted)}.")


def _whole(text: str) -> str:
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def unanswered(turn: Turn, reply: Reply) -> str:
    """What is wrong with a reply to this turn, in one line: a call without its one answer, an answer without a call.

    Empty where nothing is. A reply that ends the episode may leave calls without an answer.
    """
    asked = [call.id for call in turn.calls]
    given = [said["tool_call_id"] for said in reply.messages if said["role"] == "tool"]
    for answer in given:
        if answer not in asked:
            return f"the reply answers the call {answer!r:.100}, which the turn has not made"
        if given.count(answer) > 1:
            return f"the reply answers the call {answer!r:.100} more than once"
    missing = [call for call in asked if call not in given]
    return f"the reply leaves the call {missing[0]!r:.100} without an answer" if missing and not reply.is_done else ""


def _signature(tool: Tool) -> str:
    """`a (integer), b (integer, optional)`."""
    required = tool.parameters.get("required", ())
    parts = []
    for name, schema in tool.parameters.get("properties", {}).items():
        kind = schema.get("type", "any") if isinstance(schema, Mapping) else "any"
        kind = kind if isinstance(kind, str) else " or ".join(map(str, kind))
        parts.append(f"{name} ({kind}{'' if name in required else ', optional'})")
    return ", ".join(parts) or "no arguments"
