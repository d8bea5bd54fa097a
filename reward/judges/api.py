"""The one interface behind which every judge stands: what is compared, what comes back, and how a judge fails.

Two levels. A *judge* compares the two answers of a `Pair` in the order given: a human-label file is one. A judge that
is a language model is `PromptedJudge` (prompted.py) around a *generator*: an async function from requests to replies.
The served policy, a frozen copy of it and any OpenAI-compatible endpoint differ in that function only.

A generator that has no reply raises `NoReply` with one cause of a short list, whatever it was asked for: somebody whom
a model plays is asked in the same way (rl/personas.py). A judge that cannot judge raises `JudgeFailed`, and the pair
stays undecided. Everything else that a generator raises (a lost engine, a bug) passes through to the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gyms.api import Message
from gyms.critic.verdict import Outcome
from reward.rubric import Rubric

__all__ = [
    "Cause",
    "Compares",
    "Comparison",
    "Generate",
    "JudgeCost",
    "JudgeFailed",
    "JudgeReply",
    "JudgeRequest",
    "NoReply",
    "Pair",
]

Cause = Literal[
    "unreadable", "truncated", "timeout", "refused", "too_long", "unquotable", "no_room", "unavailable", "no_label"
]
"""Why there is no reply, or no verdict. `too_long`: a text is longer than a setting of the judge's allows.
`unquotable`: an answer cannot be named by repeating it (style `quote`). `no_room`: request and reply are longer than
the model's context. `unavailable`: the endpoint could not be reached or answered with an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRequest:
    """One call of a language model that judges.

    Example:
        JudgeRequest(id="s3/d12/0-1/ab/0", messages=(message("user", "..."),), max_tokens=64, temperature=0.0, seed=7,
                     schema=VerdictForm().schema(), choices=())
    """

    id: str
    """Unique among the calls of a step."""
    messages: tuple[Message, ...]
    """Chat messages."""
    max_tokens: int
    """Most tokens of the reply."""
    temperature: float
    """Sampling temperature; 0 is greedy."""
    seed: int
    """Seed of the reply's sampling, in [0, 2**63): a function of the run's seed, the pair, the order and the try."""
    schema: Mapping[str, Any] | None = None
    """JSON schema that guided decoding should enforce; None for a bare verdict."""
    choices: tuple[str, ...] = ()
    """For a bare verdict: the only replies that guided decoding should allow. Empty where there is a schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeReply:
    """What a language model said.

    Example:
        JudgeReply(text='{"winner": "A"}', num_prompt_tokens=412, num_tokens=7)
    """

    text: str
    """The reply without special tokens."""
    is_truncated: bool = False
    """True where `max_tokens` cut it off."""
    num_prompt_tokens: int = 0
    """Tokens read, where known."""
    num_tokens: int = 0
    """Tokens written, where known."""


Generate = Callable[[Sequence[JudgeRequest]], Awaitable[Sequence[JudgeReply]]]
"""From requests to replies, in order. Raises NoReply for a request that cannot be answered, e.g. "no_room"."""


class NoReply(Exception):
    """A language model that was asked gave nothing that can be used."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause: Cause = cause
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cause, self.detail)


class JudgeFailed(NoReply):
    """The judge gave no usable verdict: the pair stays undecided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two answers to one question, in the order in which the judge sees them.

    Example:
        Pair(key="s3/d12/0-1/ab", question="What is rain?", first="Water.", second="It rains.", rubric=rubric)
    """

    key: str
    """Names the comparison and its order."""
    question: str
    """What was asked."""
    first: str
    second: str
    rubric: Rubric | None = None
    """What to judge by; None: which answer is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a judge said of one pair, in its order."""

    outcome: Outcome
    """Which answer is better."""
    flags: frozenset[str] = frozenset()
    """For people: "cut" where a text was shown in part, "mandatory" where a mandatory criterion decided."""
    is_by_code: bool = False
    """Code decided it alone: no judge was shown the answers."""


@dataclass(slots=True)
class JudgeCost:
    """What judging has cost since the counters were last taken; counters only ever grow until then."""

    num_calls: int = 0
    """Calls of the generator, retries included."""
    num_retries: int = 0
    """Calls that repeated one whose reply was no verdict."""
    num_prompt_tokens: int = 0
    """Tokens read."""
    num_tokens: int = 0
    """Tokens written."""
    seconds: float = 0.0
    """Sum of the calls' wall clocks; calls overlap."""
    failures: Counter[str] = field(default_factory=Counter)
    """Pairs (in one order) without a verdict, by cause."""


class Compares(Protocol):
    """A judge."""

    @property
    def name(self) -> str:
        """Names the judge and all that its verdicts depend on; part of the key under which verdicts are stored."""
        ...

    cost: JudgeCost
    """Running counters; whoever reports them puts a new one in their place."""

    async def compare(self, pair: Pair) -> Comparison:
        """Which answer is better, of the pair as it is ordered; JudgeFailed where there is no verdict."""
        ...
