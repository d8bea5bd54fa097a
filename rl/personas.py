"""Somebody in an environment whom a model plays: what a turn's questions hear, before the environment sees the turn.

    turn -> (persona, what the call says, a seed) -> the model's words -> the turn, with these words in the call

Environments live in workers that reach no model, so the words travel with the turn (`gyms.api.Call.heard`): carried and
stored episodes hold them, and a replay asks nobody. They are text like any other that a policy observes, whatever the
model made of its part: nothing, half a sentence, a tool call. Its thoughts are cut; its words are never in the loss.

*Every question is answered by itself*: no model remembers what it was asked before. So a question costs the same at the
end of an episode as at its start, and no policy can ask until a prompt is too long.

*Whose fault?* A model that cannot be asked is ours: the episode ends there, masked. One that refuses to answer, that
answers without a text, or whose context the question does not fit says nothing: a policy that finds out what makes it
do so must not be masked for it. A task whose persona fits no context even where nothing is asked is not asked at all
(rl/prompts.py).

A frozen copy of the policy is an endpoint that serves one: engines hold one set of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from configs.schema import Config
from gyms.api import Call, Message, Tool, Turn, message
from gyms.episodes.calling import MAX_CALLS_A_TURN
from reward.judges.api import Cause, JudgeRequest, NoReply
from reward.judges.endpoint import Endpoint, EndpointSettings
from reward.together import together
from rl.replies import Samples, reply_of
from rollout.chat import ChatFormat

__all__ = ["Answers", "Personas", "Question", "check_endpoint", "hear", "longest_persona", "told"]

MAX_QUESTION_CHARS = 2000
"""Characters of a question that are read."""
MAX_HEARD = MAX_CALLS_A_TURN
"""The first calls of a turn, of which questions are answered, all at once: environments with a limit run no more."""
MAX_ANSWER_CHARS = 8192
"""Characters that are kept of an answer: a server need not keep to `persona.max_tokens`."""
_SAYS_NOTHING: frozenset[Cause] = frozenset({"refused", "unreadable", "no_room"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody whom a model plays is asked.

    Example:
        Question(id="s3/d12/k5/1/0", persona="You want a red bag.", text="Which colour?", seed=7)
    """

    id: str
    """Unique among the questions of a step."""
    persona: str
    """Who is asked, as the model is told."""
    text: str
    """What the policy asked."""
    seed: int
    """Of the answer's sampling, in [0, 2**63)."""


class Answers(Protocol):
    """Who plays the personas: `rl.policy.ServedPolicy`."""

    async def answer(self, question: Question) -> str:
        """What is said; NoReply where the model could not be asked."""
        ...


async def hear(policy: Answers, turn: Turn, tools: Sequence[Tool], *, name: str, seed: Callable[[int], int]) -> Turn:
    """The turn, with what was said to its questions: "" to those behind MAX_HEARD calls.

    Args:
        name: of the turn.
        seed: of the answer to a call, by its place in the turn.
    """
    personas = {tool.name: tool.persona for tool in tools if tool.persona}

    async def answered(place: int, call: Call) -> Call:
        if call.arguments is None or call.tool not in personas:
            return call
        if place >= MAX_HEARD:
            return replace(call, heard="")
        text = "\n".join(map(str, call.arguments.values()))[:MAX_QUESTION_CHARS]
        asked = Question(id=f"{name}/{place}", persona=personas[call.tool], text=text, seed=seed(place))
        return replace(call, heard=await policy.answer(asked))

    return replace(turn, calls=tuple(await together([answered(*placed) for placed in enumerate(turn.calls)])))


def told(persona: str, text: str) -> tuple[Message, ...]:
    """What the model is told, and nothing else: one message, as some templates know no system's."""
    return (message("user", f"{persona}\n\n{text}"),)


def longest_persona(config: Config) -> int | None:
    """Most tokens of what the model is told before it is asked anything; None: what fits an endpoint is not known."""
    if config.persona.source == "endpoint":
        return None
    return config.model.context_length - config.persona.max_tokens


def check_endpoint(config: Config) -> None:
    """The endpoint that plays, if one does, has its key.

    Raises:
        ValueError: the variable that should hold it is not set.
    """
    if (settings := _endpoint_of(config)) is not None:
        settings.key()


def _endpoint_of(config: Config) -> EndpointSettings | None:
    if config.persona.source != "endpoint":
        return None
    return EndpointSettings(**config.persona.endpoint.model_dump())


class Personas:
    """Plays them all, by `persona` of a config."""

    def __init__(self, config: Config) -> None:
        self._settings, self._context_length = config.persona, config.model.context_length
        settings = _endpoint_of(config)
        self._endpoint = None if settings is None else Endpoint(settings)

    async def answer(self, question: Question, policy: Samples, chat: ChatFormat) -> str:
        """What is said; NoReply where the model could not be asked."""
        request = JudgeRequest(
            id=question.id,
            messages=told(question.persona, question.text),
            max_tokens=self._settings.max_tokens,
            temperature=self._settings.temperature,
            seed=question.seed,
        )
        try:
            if self._endpoint is not None:
                (reply,) = await self._endpoint.generate([request])
            else:
                reply = await reply_of(
                    policy, chat, request, name=f"persona/{question.id}", context_length=self._context_length,
                    shortened_by="persona.max_tokens", alone=True,
                )  # fmt: skip
        except NoReply as failure:
            if failure.cause not in _SAYS_NOTHING:
                raise
            return ""
        return reply.text[:MAX_ANSWER_CHARS].encode(errors="replace").decode()  # half a surrogate pair is no text

    async def aclose(self) -> None:
        """Close the connections."""
        if self._endpoint is not None:
            await self._endpoint.aclose()
