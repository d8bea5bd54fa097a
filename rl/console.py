"""How a run is shown while it goes on: a live view on a terminal, plain lines in a log, JSON for programs.

A view is told what happens and shows it in its way; what it is told are facts, and words that hold for every view.

    LiveView    a terminal: lines go by above, and at the bottom stands the step with its phase, its progress, rewards
                by gym, health, speed, seconds by phase and the time that is left
    PlainView   a log, and `ray job logs`: a line an event, nothing that is written over
    QuietView   --quiet: notes and the table at the end
    JsonView    --json: one object a line on stdout, {"event": ...}; numbers under the names of docs/metrics.md
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gyms.cli.show import clean
from rl.step_times import own_seconds, seconds_left, seconds_of

__all__ = ["JsonView", "LiveView", "Mode", "PlainView", "QuietView", "Standing", "View", "step_line", "view_of"]

Mode = Literal["auto", "quiet", "json"]
Row = Mapping[str, Any]
LINE = (
    ("reward", "reward/mean", "{:.3f}"),
    ("truncated", "rollout/truncated_frac", "{:.2f}"),
    ("turns", "rollout/turns_mean", "{:.1f}"),
    ("gap", "rollout/logprob_gap_mean", "{:.4f}"),
    ("T", "rollout/temperature", "{:.2f}"),
    ("grad", "learner/grad_norm", "{:.2f}"),
    ("rollout", "phase/rollout_seconds", "{:.1f}s"),
    ("old", "phase/old_logprobs_seconds", "{:.1f}s"),
    ("update", "phase/update_seconds", "{:.1f}s"),
    ("pack+swap", "weights/sync_seconds", "{:.2f}s"),
    ("tokens/s", "rollout/tokens_per_second", "{:.0f}"),
)
"""What a step's line shows: label, metric, format. Rewards by gym follow the first where there are several."""
BETWEEN = "hand-over, packing, saving"
"""What goes on where nothing is counted."""


@dataclass(slots=True, kw_only=True)
class Standing:
    """Where a run stands: what a line and the live view are made of."""

    name: str
    num_steps: int
    eval_every: int = 0
    """Steps between evaluations; 0: at the end alone."""
    rows: list[Row] = field(default_factory=list)
    """Of the steps that this process did."""

    @property
    def seconds_left(self) -> float | None:
        """An estimate, None before the first step."""
        if not self.rows:
            return None
        done = self.rows[-1]["step"] + 1
        due = [step for step in range(done, self.num_steps) if self.eval_every and step % self.eval_every == 0]
        return seconds_left(self.rows, num_left=self.num_steps - done, num_evals_left=len(due) + 1)


def step_line(standing: Standing) -> str:
    """The last step in a line of what is known of it."""
    row = standing.rows[-1]
    parts = [f"{label} {form.format(row[key])}" for label, key, form in LINE if row.get(key) is not None]
    gyms = _gym_rewards(row)
    if len(gyms) > 1:
        parts.insert(1, "(" + ", ".join(f"{name} {mean:.3f}" for name, mean in gyms.items()) + ")")
    if (total := seconds_of(row)) > 0:
        parts.append(f"step {total:.1f}s")
    left = standing.seconds_left
    if left and row["step"] + 1 < standing.num_steps:
        parts.append(f"left {clock(left)}")
    return f"step {row['step'] + 1}/{standing.num_steps}  " + "  ".join(parts)


def clock(seconds: float) -> str:
    """Minutes and seconds, hours where there are some: 2:05, 1:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _gym_rewards(row: Row) -> dict[str, float]:
    found = {}
    for key, value in row.items():
        head, _, tail = key.partition("/")
        name, slash, last = tail.rpartition("/")
        if head == "reward" and slash and last == "mean" and value is not None:
            found[name] = value
    return found


class View(Protocol):
    """Shows what happens in a run."""

    console: Console

    def say(self, text: str) -> None:
        """A note for people."""
        ...

    def event(self, kind: str, facts: Mapping[str, Any], lines: Sequence[Text]) -> None:
        """Something of the run itself, as facts and as lines."""
        ...

    def step(self, standing: Standing) -> None:
        """A step is done."""
        ...

    def progress(self, what: str, total: int, unit: str) -> contextlib.AbstractContextManager[Callable[[int], None]]:
        """Something is counted; yields a function that adds to it."""
        ...

    def table(self, table: RenderableType) -> None:
        """A table of the last page."""
        ...

    def close(self) -> None:
        """Give the terminal back."""
        ...


def view_of(mode: Mode, console: Console | None = None) -> View:
    """The view for a mode; `auto` looks at the console."""
    if mode == "json":
        return JsonView(console or Console(soft_wrap=True, highlight=False))
    console = console or Console(soft_wrap=True, highlight=False)
    if mode == "quiet":
        return QuietView(console)
    return LiveView(console) if console.is_terminal else PlainView(console)


class PlainView:
    """A line an event.

    Args:
        console: where to print.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = time.perf_counter()

    def say(self, text: str) -> None:
        told = clean(text, keep="\n")  # it may quote verifiers and models
        self.console.print(Text(f"[{time.perf_counter() - self._started:6.0f}s] {told}"))

    def event(self, kind: str, facts: Mapping[str, Any], lines: Sequence[Text]) -> None:
        for line in lines:
            self.console.print(line) if kind == "samples" else self.say(line.plain)

    def step(self, standing: Standing) -> None:
        self.say(step_line(standing))

    @contextlib.contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        started, done = time.perf_counter(), 0

        def advance(num: int) -> None:
            nonlocal done
            done += num

        yield advance
        self.say(f"{what}: {done} {unit} in {time.perf_counter() - started:.1f} s")  # a warm-up may end before `total`

    def table(self, table: RenderableType) -> None:
        self.console.print(table)

    def close(self) -> None:
        pass


class QuietView(PlainView):
    """Notes and the table at the end."""

    def event(self, kind: str, facts: Mapping[str, Any], lines: Sequence[Text]) -> None:
        if kind == "final":
            super().event("samples", facts, lines)

    def step(self, standing: Standing) -> None:
        pass

    @contextlib.contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        yield lambda n: None


class JsonView(QuietView):
    """One JSON object a line, with seconds since the start."""

    def say(self, text: str) -> None:
        self._write("note", {"text": text})

    def event(self, kind: str, facts: Mapping[str, Any], lines: Sequence[Text]) -> None:
        if kind != "samples":
            self._write(kind, facts)

    def step(self, standing: Standing) -> None:
        left = standing.seconds_left
        self._write("step", {**standing.rows[-1], "num_steps": standing.num_steps, "seconds_left": left})

    def table(self, table: RenderableType) -> None:
        pass

    def _write(self, event: str, facts: Mapping[str, Any]) -> None:
        seconds = round(time.perf_counter() - self._started, 3)
        self.console.file.write(json.dumps({"event": event, "seconds": seconds, **facts}) + "\n")
        self.console.file.flush()


class LiveView(PlainView):
    """Lines above, and below them the step as it stands."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
        self._bars = Progress(*columns, TextColumn("{task.fields[unit]}"), TimeElapsedColumn(), console=console)
        self._standing: Standing | None = None
        self._live = Live(console=console, get_renderable=self._render, transient=True, refresh_per_second=4)

    def step(self, standing: Standing) -> None:
        self._standing = standing
        super().step(standing)

    @contextlib.contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        self._live.start()  # does nothing where it has started
        task = self._bars.add_task(what, total=total, unit=unit)
        try:
            yield lambda n: self._bars.advance(task, n)
        finally:
            self._bars.remove_task(task)

    def event(self, kind: str, facts: Mapping[str, Any], lines: Sequence[Text]) -> None:
        if kind == "final":
            self.close()
        super().event("samples" if kind == "final" else kind, facts, lines)

    def table(self, table: RenderableType) -> None:
        self.close()
        super().table(table)

    def close(self) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        bars = self._bars.get_renderable() if self._bars.tasks else Text(BETWEEN, style="dim")
        elapsed = f"elapsed {clock(time.perf_counter() - self._started)}"
        if self._standing is None:
            return Group(bars, Text(elapsed, style="dim"))
        return Group(_panel(self._standing, elapsed), bars)


def _panel(standing: Standing, elapsed: str) -> Table:
    """The last step as a table of two columns."""
    row, left = standing.rows[-1], standing.seconds_left
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()

    def told(*keys: str) -> str:
        shown = {key: (label, form) for label, key, form in LINE}
        return "  ".join(
            f"{shown[key][0]} {shown[key][1].format(row[key])}" for key in keys if row.get(key) is not None
        )

    later = f"  about {clock(left)} left" if left and row["step"] + 1 < standing.num_steps else ""
    grid.add_row(standing.name, f"step {row['step'] + 1}/{standing.num_steps}  {elapsed}{later}")
    gyms = "  ".join(f"{name} {mean:.3f}" for name, mean in _gym_rewards(row).items())
    grid.add_row("reward", gyms or told("reward/mean"))
    grid.add_row("health", told("rollout/truncated_frac", "rollout/turns_mean", "rollout/logprob_gap_mean",
                                "learner/grad_norm", "rollout/temperature"))  # fmt: skip
    grid.add_row("speed", told("rollout/tokens_per_second", "weights/sync_seconds"))
    parts = {name: seconds for name, seconds in own_seconds(row).items() if seconds >= 0.05}
    total = seconds_of(row) or 1.0
    spent = "  ".join(f"{name} {seconds:.1f} ({seconds / total:.0%})" for name, seconds in parts.items())
    grid.add_row("seconds", spent)
    return grid
