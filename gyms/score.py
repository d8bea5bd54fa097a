"""What a gym says of a response or an episode: a status, never a bare float. Part of the contract (gyms/api.py)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["CaseResult", "Score", "ServiceFailed", "Status"]


class Status(StrEnum):
    """What became of one sample's verification; the table of docs/gyms.md in code."""

    OK = "ok"
    """Verified; `value` says how right it was. A wrong answer is `ok` with value 0."""
    NO_ANSWER = "no_answer"
    """The response holds no answer. The model's fault."""
    INVALID_ANSWER = "invalid_answer"
    """An answer was found but cannot be read. The model's fault."""
    TOO_COMPLEX = "too_complex"
    """The answer exceeds a cap that is checked before parsing. The model's fault."""
    TIMEOUT = "timeout"
    """What the model submitted ran past its limit. The model's fault."""
    CRASHED = "crashed"
    """What the model submitted crashed. The model's fault."""
    TRUNCATED = "truncated"
    """Stopped by its token budget; judged by the truncation rule, never by a verifier."""
    BAD_TASK = "bad_task"
    """The task itself is malformed. Ours: masked."""
    VERIFIER_ERROR = "verifier_error"
    """The gym raised, hung, crashed or returned garbage. Ours: masked."""
    JUDGE_FAILED = "judge_failed"
    """The judge gave no usable verdict. Ours: masked."""
    CANCELLED = "cancelled"
    """Scoring was stopped before it finished. Ours: masked."""

    @property
    def is_masked(self) -> bool:
        """True where the fault is ours: the sample leaves the group mean and the loss, and is counted."""
        return self in _MASKED

    @property
    def is_model_fault(self) -> bool:
        """True where the model gets the gym's minimum reward, without a value from the verifier."""
        return self in _MODEL_FAULTS


_MASKED = frozenset({Status.BAD_TASK, Status.VERIFIER_ERROR, Status.JUDGE_FAILED, Status.CANCELLED})
_MODEL_FAULTS = frozenset({Status.NO_ANSWER, Status.INVALID_ANSWER, Status.TOO_COMPLEX, Status.TIMEOUT, Status.CRASHED})


class ServiceFailed(RuntimeError):
    """Raise it from `start`, `step` or `score` where what a gym relies on failed, whatever the model said: a server
    cannot be reached or says that it is too busy, an answer is none. The sample is masked as `verifier_error`, and no
    control sample makes it the model's fault.

    Never where what the model called ended in an error: tell the model. Where it may be what the model said (a verifier
    raised on it, or took too long over it) let the error through as it is: a control sample tells.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What became of one part of a verification: a test of a program, an instruction of a prompt.

    Example:
        CaseResult(id="add(1, 2)", passed=False, reason="expected 3, got 4", seconds=0.01)
    """

    id: str
    """Stable name within the task."""
    passed: bool
    reason: str = ""
    """Why it failed, in one line; empty where it passed. Never shown to the policy."""
    seconds: float = field(default=0.0, compare=False)
    """Wall clock that it took, measured outside of what was verified; no part of what makes two results equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a gym says of one response.

    Raises ValueError when the value is missing, not finite or outside [0, 1] where the status is `ok`, or is present
    where it is not: a gym that returns garbage is found at the place that built the garbage.

    Example:
        Score(status=Status.OK, value=1.0, answer="7", components={"correct": 1.0})
    """

    status: Status
    value: float | None = None
    """In [0, 1] where the status is `ok`; None otherwise."""
    components: Mapping[str, float] = field(default_factory=dict)
    """Named parts of the score, logged as they are. By convention `fraction` is the part in [0, 1] of what was asked
    that holds, whatever the gym's rule makes of it as `value`."""
    answer: str | None = None
    """The answer as it was extracted from the response."""
    flags: frozenset[str] = frozenset()
    """Diagnostics for people ("unevaluated", "echo", ...); never change the value by themselves."""
    cases: tuple[CaseResult, ...] = ()
    """Parts of the verification, in the task's order, where it has parts."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """How it was verified, for people: the sandbox's tier, the verifier's version, ..."""
    seconds: float = field(default=0.0, compare=False)
    """Wall clock of the verification; the scorer fills it in. No part of what makes two scores equal."""
    detail: str = ""
    """For faults: what happened, in one line."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))  # "ok" is as good as Status.OK
        if self.status is Status.OK:
            number = isinstance(self.value, int | float)
            if not number or not math.isfinite(self.value) or not 0.0 <= self.value <= 1.0:  # type: ignore[arg-type]
                raise ValueError(f"Score.value must be a number in [0, 1] when the status is ok, got {self.value!r}")
        elif self.value is not None:
            raise ValueError(f"Score.value must be None when the status is {self.status}, got {self.value!r}")
