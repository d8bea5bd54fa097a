"""Any task of one turn, asked with a Python interpreter at hand: the environment `python`.

`gym` names where tasks and verifier come from: `gsm8k`, `math`, `arithmetic`, or any other gym of one turn. The model
may call `python(code)` as often as it likes. The interpreter keeps its names from call to call, as a notebook does, and
lives in a session of the sandbox that this episode alone has. The last turn, which calls nothing, is what that gym
scores, exactly as it scores a response of its own; what the interpreter printed is worth nothing by itself.

*An episode is a function of its turns* as far as the code is one. The hash seed and the state of `random` are fixed,
every session starts in an empty folder, and addresses (`<object at 0x7f...>`) are taken out of what is shown. Code that
asks the clock, `os.urandom`, threads in a race or numpy's own unseeded generator is not deterministic, and a replay may
answer it otherwise. A call that is ended by a limit shows none of its output, because how far it came is a matter of
time.

*Limits* hold for each call. What overruns them costs the interpreter and its names, and the answer says so. The session
is opened by the first call: an episode that calls nothing costs nothing.

Left out: other libraries than the standard one and numpy; files given with a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ConfigDict, Field

from gyms.api import (
    Call,
    Environment,
    Episode,
    Gym,
    GymSettings,
    Needs,
    Services,
    Split,
    Task,
    Tool,
    Turn,
)
from gyms.one_turn import Attempt, load_one_turn
from gyms.sandbox.program import Cell, Ending, Limits, Session
from gyms.sandbox.told import shortened, without_addresses

__all__ = ["PYTHON", "PythonTool", "PythonToolSettings", "shown"]

PYTHON = Tool(
    name="python",
    description=(
        "Runs Python code and returns what it prints, and the value of its last expression. Names and imports are kept "
        "from call to call."
    ),
    parameters={
        "type": "object",
        "properties": {"code": {"type": "string", "description": "The code to run."}},
        "required": ["code"],
        "additionalProperties": False,
    },
)
_LOST = "The interpreter was started again: its variables and imports are gone."


class PythonToolSettings(GymSettings):
    """Settings of the environment `python`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    gym: str = "arithmetic"
    """The gym whose tasks are asked and whose verifier scores the last turn: any of one turn that needs no judge."""
    args: dict[str, Any] = Field(default_factory=dict)
    """That gym's settings."""
    cpu_seconds: float = Field(default=5.0, gt=0.0, le=10.0)
    """CPU time of one call, in seconds. Twice as much wall clock, waiting for a core not counted."""
    memory_mb: int = Field(default=512, ge=64, le=16_384)
    """Memory of one call and of the interpreter, in MiB."""
    file_mb: int = Field(default=16, ge=1, le=1024)
    """Size of the session's folder, in MiB."""
    output_chars: int = Field(default=4000, ge=200, le=100_000)
    """Most characters of one answer; of a longer one, the middle is left out."""
    numpy: bool = False
    """Whether numpy can be imported, where it is installed and the sandbox can show it (docs/sandbox.md)."""


class PythonTool(Environment):
    """Asks the tasks of another gym and offers a Python interpreter whose state lives over calls (docs/gyms.md)."""

    Settings = PythonToolSettings
    needs = Needs(wall_seconds=1400.0, sandbox=True)  # all calls of a turn, on a busy machine
    max_turns = 100
    settings: PythonToolSettings
    components: Mapping[str, str] = {  # type: ignore[misc]
        "num_calls": "well-formed calls of the tool",
        "num_call_errors": "of these, calls that raised, were ended by a limit or ended the interpreter",
    }
    """Beside those of the other gym."""
    baseline: float  # type: ignore[misc]
    minimum: float  # type: ignore[misc]

    def __init__(self, settings: PythonToolSettings, services: Services) -> None:
        super().__init__(settings, services)
        self._inner = load_one_turn(settings.gym, settings.args, services, has_sandbox=self.needs.sandbox)
        inner = self._inner.components
        self.components = {**inner, **type(self).components} if inner else {}  # none declared: any are allowed
        self.baseline, self.minimum = self._inner.baseline, self._inner.minimum

    def tasks(self, split: Split) -> Sequence[Task]:
        return self._inner.tasks(split)

    def tools(self, task: Task) -> Sequence[Tool]:
        return (PYTHON,)

    def start(self, task: Task, seed: int) -> Episode:
        return _Attempt(task, self._inner, self._open, self.settings.output_chars)

    def gold(self, task: Task) -> str | None:
        return self._inner.gold(task)

    def gold_turns(self, task: Task) -> Sequence[Turn] | None:
        """Two calls, the second of which needs what the first one left, then the other gym's gold response."""
        gold = self._inner.gold(task)
        if gold is None:
            return None
        cells = ("numbers = [6, 7]", "numbers[0] * numbers[1]")
        calls = [Call(id=f"call_{n}", tool=PYTHON.name, arguments={"code": code}) for n, code in enumerate(cells)]
        return [*(Turn(text="", calls=(call,)) for call in calls), Turn(text=gold)]

    def attacks(self, task: Task) -> Mapping[str, str]:
        return self._inner.attacks(task)

    def fingerprint(self, task: Task) -> str:
        return self._inner.fingerprint(task)

    def _open(self) -> Session:
        if self.services.sandbox is None:
            raise RuntimeError("the environment `python` runs code and was handed no sandbox")
        settings = self.settings
        limits = Limits(
            cpu_seconds=settings.cpu_seconds,
            wall_seconds=2.0 * settings.cpu_seconds,
            memory_bytes=settings.memory_mb << 20,
            file_bytes=settings.file_mb << 20,
        )
        return self.services.sandbox.open(limits=limits, has_numpy=settings.numpy)


class _Attempt(Attempt):
    """One attempt: its session, where a call has opened one."""

    def __init__(self, task: Task, inner: Gym, opening: Callable[[], Session], max_chars: int) -> None:
        super().__init__(task, inner, (PYTHON,))
        self._max_chars = max_chars
        self._opening = opening
        self._session: Session | None = None

    def run(self, call: Call) -> str:
        assert call.arguments is not None
        if self._session is None:
            self._session = self._opening()
        cell = self._session.python(call.arguments["code"])
        self.num_errors += cell.has_raised or not cell.is_kept
        return shown(cell, max_chars=self._max_chars)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


def shown(cell: Cell, *, max_chars: int) -> str:
    """What the model is told of a call: its output, what ended it, and whether the names are still there.

    Example:
        shown(Cell(output="42\\n", ending=Ending.EXITED), max_chars=4000) == "42"
    """
    reason = _REASONS.get(cell.ending, "")
    if cell.ending is Ending.EXITED and not cell.is_kept:
        reason = f"the interpreter ended with status {cell.exit_status}"
    is_cut_by_time = cell.ending in (Ending.CPU_LIMIT, Ending.WALL_LIMIT, Ending.MEMORY_LIMIT)
    output = "" if is_cut_by_time else shortened(without_addresses(cell.output).rstrip("\n"), max_chars)
    parts = [output] if output else []
    if cell.is_new:
        parts.append(f"Note: before this call, the interpreter had ended. {_LOST}")
    if reason:
        parts.append(f"Error: {reason}. {_LOST}")
    return "\n".join(parts) or "(no output)"


_REASONS = {
    Ending.CPU_LIMIT: "the call took more CPU time than a call may, and was ended",
    Ending.WALL_LIMIT: "the call took longer than a call may, and was ended",
    Ending.MEMORY_LIMIT: "the call took more memory or room for files than it may, and was ended",
    Ending.OUTPUT_LIMIT: "the call wrote more than a call may, and was ended",
    Ending.KILLED: "the interpreter was killed by a signal",
}
