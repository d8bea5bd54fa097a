"""The one contract between the pipeline and whatever asks questions: tasks, scores, and the gym that makes both.

A gym knows tasks and how to verify an answer. It knows no model, no tensor and no Ray: this file imports neither
torch, ray nor vllm, so a plug-in author can test a gym in milliseconds. Five facts shape the contract:

- *A score carries a status, never a bare float.* A wrong answer is `ok` with value 0. A fault of the model scores the
  gym's minimum and is kept; a fault of ours (a broken verifier, a malformed task) is masked out of the learning batch,
  because training on our own bugs is worse than losing a sample. `Status` is closed and says whose fault it was.
- *`gym.tasks(split)[i]` is a pure function*: same settings, same index, same task, in every process. Runs resume by
  arithmetic on indices, never by saving iterators.
- *What a gym may need is handed to it* as `Services`, so that nothing is global and a worker can be killed at any time.
- *Model code runs in a sandbox that is handed in*, as `Services.sandbox`; the expected results never go in with it.
- *Many turns are one contract with one turn.* `start` gives an episode (gyms/episodes/episode.py); a gym of one turn is
  an environment whose episode ends with its first turn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from gyms.episodes.episode import Call, Episode, Message, OneTurn, Reply, Tool, Turn, refusal, tool_result
from gyms.response import after_thoughts
from gyms.score import CaseResult, Score, ServiceFailed, Status

if TYPE_CHECKING:
    from gyms.sandbox.program import Sandbox

__all__ = [
    "API_VERSION",
    "Call",
    "CaseResult",
    "Environment",
    "Episode",
    "Gym",
    "GymSettings",
    "Message",
    "Needs",
    "Reply",
    "Score",
    "ServiceFailed",
    "Services",
    "Split",
    "Status",
    "Task",
    "Tool",
    "Turn",
    "message",
    "refusal",
    "tool_result",
]

API_VERSION = 1
"""Version of this contract. A gym declares the version that it was written for; other versions are refused."""

Split = Literal["train", "heldout"]


def message(role: Literal["system", "user", "assistant"], content: str) -> Message:
    """A chat message as a plain, picklable dict."""
    return {"role": role, "content": content}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One problem. Frozen and picklable: it travels between processes.

    Example:
        Task(id="arithmetic/train/17", prompt=(message("user", "What is 3 + 4?"),), data={"answer": "7"})
    """

    id: str
    """Stable name, unique within the gym; the same in every process and run."""
    prompt: tuple[Message, ...]
    """Chat messages shown to the policy. Never holds the gold answer."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What only the verifier sees: gold answers, tests, arguments. Plain picklable data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one `score` call may use. The host enforces it from outside, in the worker process that it can kill.

    Example:
        Needs(wall_seconds=30.0, cpu_seconds=20.0, sandbox=True)
    """

    wall_seconds: float = 10.0
    """Longest that one `score` call may take, in seconds of wall clock, queueing excluded. Be generous: a wall clock on
    a busy machine must not decide what CPU time can decide."""
    cpu_seconds: float | None = None
    """Longest CPU time of one `score` call, in seconds, of the worker and the children it has waited for; None: only
    the wall clock counts."""
    memory_bytes: int = 4 << 30
    """Address space of the worker process, in bytes; the sandbox has limits of its own."""
    processes: bool = False
    """True where the verifier itself starts child processes, outside of the sandbox; refused where it is not
    declared (gyms/confinement/declared.py: against accidents, not attackers)."""
    network: bool = False
    """True where the verifier itself talks to the network; refused likewise."""
    writes: tuple[str, ...] = ()
    """Files and folders that `score` writes to beside its scratch folder and the temporary folder, as absolute paths or
    below `~`; ("/",) where that cannot be said. All other writing is refused in a worker."""
    sandbox: bool = False
    """True where submitted code is run: `Services.sandbox` is then never None in a worker."""
    judge: bool = False
    """True where a judge gives the reward; `score` is then asked only for what can be checked without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a gym may use, handed to its constructor; nothing else is global."""

    scratch: Path | None = None
    """A folder the gym may write to while it lives; None where the host grants none."""
    sandbox: Sandbox | None = None
    """Runs submitted programs; None where the gym does not declare that it needs one, and in the driver."""


class GymSettings(BaseModel):
    """Base of every gym's settings: unknown keys are refused. Give every field a docstring with unit and range."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Gym(ABC):
    """Asks tasks and verifies answers. Subclass it, name it in the entry-point group `reward_gyms`, done.

    A gym is built once in the driver (for its tasks) and once in every scoring worker (for `score`), from the same
    settings. `score` runs in a process that is killed when it overruns `needs`.
    """

    api_version: ClassVar[int] = API_VERSION
    """The contract version this gym was written for."""
    Settings: ClassVar[type[GymSettings]] = GymSettings
    """pydantic model of the gym's settings, validated when the gym is loaded."""
    needs: ClassVar[Needs] = Needs()
    """What one `score` call may use; the worker is killed beyond it."""
    components: ClassVar[Mapping[str, str]] = {}
    """Name -> one line of meaning, of every component that a score of this gym may carry; others are a fault."""
    scores_groups: ClassVar[bool] = False
    """True: the pipeline calls `score_group` with all finished siblings of a draw instead of `score` for each."""
    baseline: ClassVar[float] = 0.0
    """Highest mean value that an empty, echoed or garbage response may get, in [0, 1]."""
    minimum: ClassVar[float] = 0.0
    """Reward of a model fault, in [0, 1]."""

    settings: Any
    """The validated settings; a subclass narrows the type to its own `Settings`."""

    def __init__(self, settings: GymSettings, services: Services) -> None:
        self.settings = settings
        self.services = services

    @abstractmethod
    def tasks(self, split: Split) -> Sequence[Task]:
        """The tasks of a split: a sized, indexable, deterministic sequence. The two splits never share a problem."""

    @abstractmethod
    def score(self, task: Task, response: str) -> Score:
        """Verify a complete response. Must survive any string. Raising is a fault of the gym, and masks the sample
        unless a control sample shows that the response is to blame; ServiceFailed masks it always.

        In a run `response` is a `gyms.response.Response`: the text behind the model's thoughts, with `whole` beside it.
        Thoughts that never end score `no_answer` without being asked here. Elsewhere it may be a plain string, thoughts
        and all: `gyms.response.after_thoughts` and `final_text` give what counts of either.
        """

    def score_batch(self, pairs: Sequence[tuple[Task, str]]) -> Sequence[Score]:
        """Scores of several (task, response) pairs, in order. Override it where a batch is cheaper than its parts."""
        return [self.score(task, response) for task, response in pairs]

    def score_group(self, task: Task, responses: Sequence[str]) -> Sequence[Score]:
        """Scores of all siblings of one task, in order, where they depend on each other (`scores_groups`)."""
        return self.score_batch([(task, response) for response in responses])

    def tools(self, task: Task) -> Sequence[Tool]:
        """What the model may call at this task; a function of the task."""
        return ()

    def start(self, task: Task, seed: int) -> Episode:
        """A new attempt at a task; of a gym of one turn, which needs no `seed`, one that ends with its first turn."""
        return OneTurn(partial(self.score, task), Score(status=Status.NO_ANSWER, detail="there is no whole response"))

    def gold(self, task: Task) -> str | None:
        """A response that must score 1.0, or None where no worked answer is known. Used by checks and by PTX."""
        return None

    def attacks(self, task: Task) -> Mapping[str, str]:
        """Name -> a response that must not pay, for `audit`: what an author knows a policy might try on this gym."""
        return {}

    def fingerprint(self, task: Task) -> str:
        """What makes two tasks the same problem; train and held-out must not share one. Default: the prompt text."""
        return "\n".join(f"{m['role']}: {m['content']}" for m in task.prompt)


class Environment(Gym):
    """Asks tasks that take many turns, with tools or without. Subclass it like Gym, with `tasks` and `start`.

    Its limits (`needs`) hold for each call of `start`, `step` and `score` by itself.
    """

    max_turns: ClassVar[int] = 300
    """Most turns of an episode; the host scores it after the last one, done or not."""

    @abstractmethod
    def start(self, task: Task, seed: int) -> Episode:
        """A new attempt at a task: a function of (task, seed, turns). `seed` is for what the environment draws."""

    def gold_turns(self, task: Task) -> Sequence[Turn] | None:
        """Turns that must score 1.0 with any seed, or None where no worked answer is known."""
        return None

    def score(self, task: Task, response: str) -> Score:
        """The score of an episode whose only turn is this text, without its thoughts."""
        episode = self.start(task, seed=0)
        try:
            episode.step(Turn(text=after_thoughts(response) or ""))
            return episode.score()
        finally:
            episode.close()
