"""What people see of a run: progress while it works, a line a step, samples with their rewards, a last page.

One object gets facts, puts them into words, and hands them to a view (`rl/console.py`) and to the trackers
(`rl/trackers.py`). The loop never formats anything.

What is seen of a run from outside, while it goes on or later, is the page of `rl/page/`: `python -m rl.report RUN` and
`k2rl report RUN` make it.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from configs.schema import Config
from gyms.cli.show import clean
from rl.console import Standing, View, view_of
from rl.page.stored import of_policy
from rl.trackers import Tracker, sample_table

if TYPE_CHECKING:  # the page's command starts here, and needs no learner
    from rl.batch import Group

__all__ = ["Report"]

LAST = (
    ("log-probability gap, mean over steps", "rollout/logprob_gap_mean", "{:.4f} nats"),
    ("pack and swap, median", "weights/sync_seconds", "{:.3f} s"),
    ("engine stall of a swap, median", "weights/swap_stall_seconds", "{:.3f} s"),
    ("decoding, median", "rollout/tokens_per_second", "{:.0f} tokens/s"),
    ("truncated in training, last step", "rollout/truncated_frac", "{:.3f}"),
)
"""What the last page says of all steps: label, metric, format."""


class Report:
    """What people see, and whoever else keeps the run's numbers.

    Args:
        config: the resolved config.
        folder: the run folder.
        view: how it is shown; by default as the standard output asks for.
        trackers: get every step's numbers, and some samples every `report.show_every` steps.
    """

    def __init__(
        self, config: Config, folder: Path, view: View | None = None, trackers: Sequence[Tracker] = ()
    ) -> None:
        self.config = config
        self.folder = folder
        self.view = view or view_of("auto")
        self._trackers = trackers
        self._standing = Standing(name=config.name, num_steps=config.num_steps, eval_every=config.eval.every)
        self._started = time.perf_counter()

    def close(self) -> None:
        """Give the terminal back, and let the trackers write what is left."""
        self.view.close()
        for tracker in self._trackers:
            tracker.close()

    def say(self, text: str) -> None:
        """One line for people."""
        self.view.say(text)

    def progress(self, what: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
        """A live bar on a terminal; in a log, one line when it is done. Yields a function that adds to it."""
        return self.view.progress(what, total, unit)

    def step(self, step: int, row: Mapping[str, Any], groups: Sequence[Group]) -> None:
        """A step is done."""
        self._standing.rows.append({"step": step, **row})
        self.view.step(self._standing)
        if self.config.report.show_samples and (step % self.config.report.show_every == 0):
            self.view.event("samples", {}, list(self._samples(groups)))
        for tracker in self._trackers:
            tracker.log(row, step)
            if step % self.config.report.show_every == 0:
                tracker.samples(sample_table(groups, step), step)

    def _samples(self, groups: Sequence[Group]) -> Iterator[Text]:
        """A few responses with their rewards: the highest and the lowest of the first groups with a spread."""
        with_spread = [g for g in groups if len({s.reward.value for s in g.samples}) > 1] or list(groups)
        for group in with_spread[: (self.config.report.show_samples + 1) // 2]:
            ordered = sorted(group.samples, key=lambda s: -s.reward.value)
            yield Text(f"    {group.draw.gym}: {_one_line(group.draw.task.prompt[-1]['content'])}", style="dim")
            for scored in (ordered[0], ordered[-1]):
                status = "" if scored.score.status == "ok" else f" ({scored.score.status})"
                style = "green" if scored.reward.value > 0.5 else "red"
                yield Text(f"      {scored.reward.value:.2f}{status}  {_one_line(scored.sample.text)}", style=style)

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """An evaluation is done."""
        lines = [Text(self._accuracy(name, row["stage"], result)) for name, result in row["gyms"].items()]
        self.view.event("evaluation", row, lines)

    def _accuracy(self, name: str, stage: str, result: Mapping[str, Any]) -> str:
        greedy, hot, best = result["greedy"], result["sampled"], result.get("best")
        k = self.config.eval.samples_per_task
        pass_at_k = "" if best is None else f"pass@{k} {_sure(best)}, "
        if (heavy := result.get("heavy")) is not None:
            pass_at_k += f"heavy {_sure(heavy)}, "
        return (
            f"held-out {name}, {stage}: greedy {_sure(greedy)}, sampled {_sure(hot)}, {pass_at_k}truncated "
            f"{result['truncated_frac']:.2f} (n = {greedy['num']})"
        )

    def final(self, evals: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]) -> None:
        """The last page: accuracy, a few numbers, and what to do next.

        The policy's last evaluation has no step's row to stand in: the trackers get it by itself.
        """
        from rl.accuracy import eval_metrics  # the page's command starts in this module, and needs no learner

        for tracker in self._trackers if evals else ():
            last = of_policy(evals)[-1]
            tracker.log(eval_metrics(last), last["step"])
        for name in evals[-1]["gyms"] if evals else ():
            self.view.table(self._table(name, evals))
        facts = {"folder": str(self.folder), "num_steps": self.config.num_steps, "evals": list(evals)}
        self.view.event("final", facts, [Text(line) for line in self._last_lines(metrics)])

    def _table(self, name: str, evals: Sequence[Mapping[str, Any]]) -> Table:
        table = Table(title=f"held-out {name}", title_justify="left")
        k = self.config.eval.samples_per_task
        hot = f"{'sampled' if k == 1 else f'avg@{k}'}, T = {self.config.eval.temperature:g}"
        best = [f"pass@{k}"] if k > 1 else []
        heavy = [f"heavy of {self.config.eval.heavy}"] if self.config.eval.heavy else []
        for column in ("policy", "weights", "n", "greedy", hot, *best, *heavy, "truncated"):
            table.add_column(column, justify="left" if column == "policy" else "right")
        for row in evals:
            if (result := row["gyms"].get(name)) is None:
                continue
            shown = ("greedy", "sampled", *(["best"] if best else []), *(["heavy"] if heavy else []))
            found = [result.get(key) for key in shown]  # a resumed run may have begun with another k
            num = str(result["greedy"]["num"])
            table.add_row(row["stage"], row["weights"], num, *map(_sure, found), f"{result['truncated_frac']:.3f}")
        return table

    def _last_lines(self, metrics: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        for label, key, form in LAST:
            values = [row[key] for row in metrics if row.get(key) is not None]
            if values:
                chosen = sum(values) / len(values) if "mean" in label else _median(values)
                chosen = values[-1] if "last" in label else chosen
                yield f"{label}: {form.format(chosen)}"
        folder = shlex.quote(str(self.folder))
        yield f"run folder: {self.folder}   ({(time.perf_counter() - self._started) / 60:.1f} min)"
        see = f"{_programs()}k2rl report"
        serve = f"{_programs()}python -m vllm.entrypoints.openai.api_server --model"
        yield f"see its curves and samples:  {see} {folder}"
        yield f"serve what was trained:      {serve} {folder}/export"
        yield f"train it further:            the same command with num_steps={2 * max(self.config.num_steps, 1)}"


def _programs() -> str:
    """What stands before a program of this environment: nothing where a shell finds it, else its folder."""
    folder = Path(sys.executable).parent
    found = shutil.which("python")
    return "" if found and Path(found).parent == folder else f"{shlex.quote(str(folder))}/"


def _sure(accuracy: Mapping[str, Any] | None) -> str:
    """A mean with its standard error; nothing where no task could be scored."""
    if accuracy is None or accuracy["mean"] is None:
        return "-"
    return f"{accuracy['mean']:.3f} +- {accuracy['stderr']:.3f}"


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _one_line(text: str, width: int = 100) -> str:
    line = clean(" ".join(text.split()))
    return line if len(line) <= width else line[: width - 3] + "..."


if __name__ == "__main__":
    from rl.page.command import main

    sys.exit(main())
