"""What people see of a run: progress while it works, a line a step, samples with their rewards, a table at the end.

One object gets facts and decides how to show them: rich on a terminal, plain lines in a log; curves go to the trackers
(`rl/trackers.py`). The loop never formats anything.

What is seen of a run from outside, while it goes on or later, is the page of `rl/page/`: `python -m rl.report RUN` and
`k2rl report RUN` make it.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from configs.schema import Config
from rl.trackers import Tracker, sample_table

if TYPE_CHECKING:  # the page's command starts here, and needs no learner
    from rl.batch import Group

__all__ = ["Report"]

LINE = (
    ("reward", "reward/mean", "{:.3f}"),
    ("truncated", "rollout/truncated_frac", "{:.2f}"),
    ("gap", "rollout/logprob_gap_mean", "{:.4f}"),
    ("T", "rollout/temperature", "{:.2f}"),
    ("grad", "learner/grad_norm", "{:.2f}"),
    ("rollout", "phase/rollout_seconds", "{:.1f}s"),
    ("old", "phase/old_logprobs_seconds", "{:.1f}s"),
    ("update", "phase/update_seconds", "{:.1f}s"),
    ("pack+swap", "weights/sync_seconds", "{:.2f}s"),
)
"""What a step's line shows: label, metric, format."""


class Report:
    """The console, and whoever else keeps the run's numbers.

    Args:
        config: the resolved config.
        folder: the run folder.
        console: where to print.
        trackers: get every step's numbers, and some samples every `report.show_every` steps.
    """

    def __init__(
        self, config: Config, folder: Path, console: Console | None = None, trackers: Sequence[Tracker] = ()
    ) -> None:
        self.config = config
        self.folder = folder
        self.console = console or Console(soft_wrap=True, highlight=False)
        self._trackers = trackers
        self._started = time.perf_counter()

    def close(self) -> None:
        """Let the trackers write what is left."""
        for tracker in self._trackers:
            tracker.close()

    def say(self, text: str) -> None:
        """One line for people."""
        self.console.print(Text(f"[{time.perf_counter() - self._started:6.0f}s] {text}"))

    @contextlib.contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """A live bar on a terminal; in a log, one line when it is done. Yields a function that adds to it."""
        if not self.console.is_terminal:
            started = time.perf_counter()
            yield lambda n: None
            self.say(f"{what}: {total} {unit} in {time.perf_counter() - started:.1f} s")
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        with Progress(*columns, TimeElapsedColumn(), console=self.console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda n: bar.advance(task, n)

    def step(self, step: int, row: Mapping[str, Any], groups: Sequence[Group]) -> None:
        """A step is done."""
        parts = [f"{label} {form.format(row[key])}" for label, key, form in LINE if row.get(key) is not None]
        self.say(f"step {step + 1}/{self.config.num_steps}  " + "  ".join(parts))
        if self.config.report.show_samples and (step % self.config.report.show_every == 0):
            self.samples(groups)
        for tracker in self._trackers:
            tracker.log(row, step)
            if step % self.config.report.show_every == 0:
                tracker.samples(sample_table(groups, step), step)

    def samples(self, groups: Sequence[Group]) -> None:
        """A few responses with their rewards: the highest and the lowest of the first groups with a spread."""
        with_spread = [g for g in groups if len({s.reward.value for s in g.samples}) > 1] or list(groups)
        for group in with_spread[: (self.config.report.show_samples + 1) // 2]:
            ordered = sorted(group.samples, key=lambda s: -s.reward.value)
            self.console.print(
                Text(f"    {group.draw.gym}: {_one_line(group.draw.task.prompt[-1]['content'])}", style="dim")
            )
            for scored in (ordered[0], ordered[-1]):
                status = "" if scored.score.status == "ok" else f" ({scored.score.status})"
                style = "green" if scored.reward.value > 0.5 else "red"
                self.console.print(
                    Text(f"      {scored.reward.value:.2f}{status}  {_one_line(scored.sample.text)}", style=style)
                )

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """An evaluation is done."""
        for name, result in row["gyms"].items():
            greedy, hot = result["greedy"], result["sampled"]
            self.say(
                f"held-out {name}, {row['stage']}: greedy {greedy['mean']:.3f} +- {greedy['stderr']:.3f}, sampled "
                f"{hot['mean']:.3f} +- {hot['stderr']:.3f}, {self._pass_at_k(result)}truncated "
                f"{result['truncated_frac']:.2f} "
                f"(n = {greedy['num']})"
            )

    def _pass_at_k(self, result: Mapping[str, Any]) -> str:
        best = result.get("best")
        if best is None:
            return ""
        return f"pass@{self.config.eval.samples_per_task} {best['mean']:.3f} +- {best['stderr']:.3f}, "

    def final(self, evals: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]) -> None:
        """The table at the end. The last evaluation has no step's row to stand in: the trackers get it by itself."""
        from rl.accuracy import eval_metrics  # the page's command starts in this module, and needs no learner

        for tracker in self._trackers if evals else ():
            tracker.log(eval_metrics(evals[-1]), evals[-1]["step"])
        for name in evals[-1]["gyms"] if evals else ():
            table = Table(title=f"held-out {name}", title_justify="left")
            k = self.config.eval.samples_per_task
            hot = f"{'sampled' if k == 1 else f'avg@{k}'}, T = {self.config.eval.temperature:g}"
            best = [f"pass@{k}"] if k > 1 else []
            for column in ("policy", "weights", "n", "greedy", hot, *best, "truncated"):
                table.add_column(column, justify="left" if column == "policy" else "right")
            for row in evals:
                if (result := row["gyms"].get(name)) is None:
                    continue
                shown = ("greedy", "sampled", *(["best"] if best else []))
                found = [result.get(key) for key in shown]  # a resumed run may have begun with another k
                cells = ["-" if one is None else f"{one['mean']:.3f} +- {one['stderr']:.3f}" for one in found]
                num = str(result["greedy"]["num"])
                table.add_row(row["stage"], row["weights"], num, *cells, f"{result['truncated_frac']:.3f}")
            self.console.print(table)
        for label, key, form in (
            ("log-probability gap, mean over steps", "rollout/logprob_gap_mean", "{:.4f} nats"),
            ("pack and swap, median", "weights/sync_seconds", "{:.3f} s"),
            ("engine stall of a swap, median", "weights/swap_stall_seconds", "{:.3f} s"),
            ("decoding, median", "rollout/tokens_per_second", "{:.0f} tokens/s"),
            ("truncated in training, last step", "rollout/truncated_frac", "{:.3f}"),
        ):
            values = [row[key] for row in metrics if row.get(key) is not None]
            if values:
                chosen = sum(values) / len(values) if "mean" in label else _median(values)
                chosen = values[-1] if "last" in label else chosen
                self.console.print(Text(f"{label}: {form.format(chosen)}"))
        self.console.print(Text(f"run folder: {self.folder}   ({(time.perf_counter() - self._started) / 60:.1f} min)"))
        self.console.print(Text(f"see its curves and samples: k2rl report {shlex.quote(str(self.folder))}"))


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _one_line(text: str, width: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3] + "..."


if __name__ == "__main__":
    from rl.page.command import main

    sys.exit(main())
