"""`k2rl curate RUN`: what a run's policy did well, as curated conversations for a warm-up or the PTX loss.

Episodes and responses whose score has a value of at least `--min-value` become lines of `messages` and `tools`, which
`ptx.source.jsonl` reads (Kimi K2 trained on tool-use trajectories that had passed their rubric). Turns are written
again in the run's tool format, without thoughts; what tools said stands between them and is outside of the loss. Of
siblings at most `--per-task` are kept, the shortest first, so that easy tasks do not crowd out the others. Episodes
that were cut off, or whose context was rewritten for room, are left out: no conversation says what the policy saw.
Where it was rewritten since the chat template leaves out thoughts of earlier turns, a conversation says just that.
Episodes with a call that could not be read are left out, too: how it was written is nothing to learn.

A task's tools are its gym's to say, so the task of an episode is looked up by the id that its row has: whichever way it
was drawn (another order of tasks, a curriculum, a critic's own). One that its gym no longer has is left out, and told.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from configs.load import from_json
from gyms.api import Tool, message
from gyms.episodes.turns import turn_of_json
from gyms.lazy import find_tasks
from gyms.load import load_gym
from gyms.mixture import GymEntry
from rl.run_folder import RunFolder
from rollout.tool_calls import FORMATS, written

__all__ = ["conversation_of", "curated", "main", "tools_of"]

Row = Mapping[str, Any]
DESCRIPTION = "Write what a run's policy did well as curated conversations, a line of JSON each (ptx.source.jsonl)."
_FINISHED = ("stop", "turns")
_UNREAD = "one of their calls could not be read"
_SHORTENED = "contexts were rewritten for room, or for a reason that their rows, of an older version, do not say"


def curated(rows: Iterable[Row], *, min_value: float, per_task: int) -> list[Row]:
    """The rows that are kept, in their order.

    Args:
        rows: of rollouts/, of any number of steps.
        min_value: least value of a score, in [0, 1].
        per_task: most rows of one task of one gym.
    """
    good = [row for row in rows if _is_good(row, min_value) and not _is_shortened(row) and not _is_unread(row)]
    kept: dict[tuple[str, str], list[int]] = {}
    for place in sorted(range(len(good)), key=lambda place: (good[place]["num_tokens"], place)):
        chosen = kept.setdefault((good[place]["gym"], good[place]["task"]), [])
        if len(chosen) < per_task:
            chosen.append(place)
    return [good[place] for place in sorted(place for chosen in kept.values() for place in chosen)]


def _is_good(row: Row, min_value: float) -> bool:
    return row["value"] is not None and row["value"] >= min_value and row["finish_reason"] in _FINISHED


def _is_shortened(row: Row) -> bool:
    """Whether the policy saw less than was said, and not only fewer thoughts."""
    return row.get("context") != "thoughts" and any("context_ids" in segment for segment in row["segments"])


def _is_unread(row: Row) -> bool:
    """Whether one of its calls could not be read: a turn does not hold what the policy wrote there."""
    turns = row["episode"]["turns"] if row["episode"] is not None else ()
    return any(call["arguments"] is None for turn in turns for call in turn.get("calls", ()))


def conversation_of(row: Row, tools: Sequence[Tool], *, tool_format: str) -> dict[str, Any]:
    """A row as a conversation that ends with what the policy said last."""
    messages = list(row["prompt"])
    if row["episode"] is None:
        messages.append(message("assistant", row["response"]))
    else:
        for turn, reply in zip(row["episode"]["turns"], row["episode"]["replies"], strict=True):
            messages += [message("assistant", written(turn_of_json(turn), tools, tool_format=tool_format)), *reply]
        while messages[-1]["role"] != "assistant":  # what the last turn was answered teaches nothing
            messages.pop()
    shown = [{"name": t.name, "description": t.description, "parameters": dict(t.parameters)} for t in tools]
    return {"messages": messages, **({"tools": shown} if shown else {})}


def tools_of(rows: Iterable[Row], entries: Sequence[GymEntry]) -> dict[tuple[str, str], tuple[Tool, ...]]:
    """What could be called in the episodes among the rows, by gym and task; without the tasks that are no more."""
    wanted: dict[str, dict[str, int | None]] = {entry.name: {} for entry in entries}
    for row in rows:
        if row["episode"] is not None:
            wanted[row["gym"]][row["task"]] = row.get("place")
    return {
        (entry.name, name): tuple(entry.gym.tools(task))
        for entry in entries
        if wanted[entry.name]
        for name, task in find_tasks(entry.gym.tasks("train"), wanted[entry.name]).items()
    }


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.curate") -> int:
    """Parse, filter, write; returns the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=DESCRIPTION)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="JSONL file to write")
    parser.add_argument("--min-value", type=float, default=1.0, help="least value of a score, in [0, 1] (default 1)")
    parser.add_argument("--per-task", type=int, default=1, help="most samples of one task (default 1)")
    parser.add_argument(
        "--tool-format", choices=sorted(FORMATS), help="how calls are written; default: model.tool_format of the run"
    )
    options = parser.parse_args(arguments)
    try:
        if not options.output.exists() and not os.access(options.output.parent, os.W_OK | os.X_OK):
            raise ValueError(f"--output {options.output}: no file can be made in {options.output.parent}")
        kept = {"min_value": options.min_value, "per_task": options.per_task}
        found = _conversations(options.run, tool_format=options.tool_format, **kept)
        options.output.write_text("".join(json.dumps(line) + "\n" for line in found.lines), encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"nothing written: {error}", file=sys.stderr)
        return 2
    print(f"{len(found.lines)} conversations in {options.output}; read them with ptx.source.jsonl={options.output}")
    if found.num_gone:
        print(f"{found.num_gone} episodes were left out: their gyms no longer have their tasks", file=sys.stderr)
    if found.num_shortened:
        print(f"{found.num_shortened} episodes were left out: their {_SHORTENED}", file=sys.stderr)
    if found.num_unread:
        print(f"{found.num_unread} episodes were left out: {_UNREAD}", file=sys.stderr)
    return 0


class _Found(NamedTuple):
    lines: list[dict[str, Any]]
    """Conversations, at least one."""
    num_gone: int
    """Episodes that were left out because their task is no more."""
    num_shortened: int
    """Good episodes that were left out because of their context."""
    num_unread: int
    """Good episodes that were left out because of their calls."""


def _conversations(run: Path, *, tool_format: str | None, min_value: float, per_task: int) -> _Found:
    if not 0.0 <= min_value <= 1.0:
        raise ValueError(f"--min-value {min_value:g}: expected a number from 0 to 1")
    if per_task < 1:
        raise ValueError(f"--per-task {per_task}: expected at least 1")
    folder = RunFolder(run)
    if not folder.config.is_file():
        raise ValueError(f"{run} is no run folder: it has no config.json")
    config = from_json(folder.config.read_text(encoding="utf-8"))
    rows = [row for file in sorted(folder.rollouts.glob("step_*.jsonl")) for row in folder.rows(file)]
    chosen = curated(rows, min_value=min_value, per_task=per_task)
    good = [row for row in rows if _is_good(row, min_value)]
    num_shortened = sum(map(_is_shortened, good))
    num_unread = sum(_is_unread(row) and not _is_shortened(row) for row in good)
    if num_unread and not chosen:
        raise ValueError(f"all {len(good)} whole episodes of {run} are left out: {_UNREAD}, or contexts were rewritten")
    if num_shortened and not chosen:
        raise ValueError(
            f"all {num_shortened} whole episodes of {run} with a value of {min_value:g} are left out, since their "
            f"{_SHORTENED}; give the next run a larger gyms.N.context_tokens, or lower --min-value"
        )
    if not chosen:
        raise ValueError(f"no sample of {run} has a value of {min_value:g}; lower --min-value")
    tool_format = tool_format or config.model.tool_format or ("" if config.model.chat_template else "pythonic")
    if not tool_format and any(row["episode"] is not None for row in chosen):
        raise ValueError("how calls are written was found in the model's template; name it: --tool-format hermes")
    entries = [
        GymEntry(
            name=g.name, gym=load_gym(g.name, g.gym, g.args, config_key=f"gyms.{i}"), share=g.share, budget=g.budget
        )
        for i, g in enumerate(config.gyms)
    ]
    tools = tools_of(chosen, entries)
    found = [
        conversation_of(row, tools.get((row["gym"], row["task"]), ()), tool_format=tool_format)
        for row in chosen
        if row["episode"] is None or (row["gym"], row["task"]) in tools
    ]
    if not found:
        raise ValueError(f"the gyms of {run} no longer have the tasks of the {len(chosen)} samples that were kept")
    return _Found(found, num_gone=len(chosen) - len(found), num_shortened=num_shortened, num_unread=num_unread)


if __name__ == "__main__":
    sys.exit(main())
