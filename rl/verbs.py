"""`k2rl VERB ...`: one command with a verb for each program of the project.

A verb is a row of `VERBS`: the module whose `main(arguments, prog=...)` returns the exit status, and a line of help.
Nothing but the chosen module is imported, so `k2rl --help` and `k2rl gyms ...` work in an environment without torch.
Each is also `python -m MODULE`, which is how a Ray job names it.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

__all__ = ["VERBS", "Verb", "main"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verb:
    """One program of the project."""

    module: str
    """Holds `main(arguments, *, prog)`, which returns the exit status; imported when the verb is used."""
    help: str
    """What it does, in a line."""


VERBS: Mapping[str, Verb] = {
    "train": Verb(module="rl.cli", help="train a model: sample, score, learn in INT4, swap the weights in; or go on"),
    "evaluate": Verb(module="rl.evaluate", help="held-out accuracy of models, BF16 or packed INT4, in one table"),
    "report": Verb(module="rl.page.command", help="see runs: curves, samples and settings in one HTML file, or live"),
    "plan": Verb(module="rl.plan", help="memory, packed bytes, swap and step time on given GPUs, before any is rented"),
    "prepare": Verb(module="rl.prepare", help="make a model folder from a Python package, without a model hub"),
    "gyms": Verb(module="gyms.cli.main", help="list, describe, validate and audit gyms; score stored answers; doctor"),
    "calibrate": Verb(module="reward.calibrate", help="how far a judge agrees with people"),
    "replay": Verb(module="rl.replay", help="a stored step through the learner again: loss, gradient norm, what-ifs"),
    "settings": Verb(module="configs.reference", help="every setting of a run, with unit, range and default"),
}

_HELP = """\
usage: k2rl VERB [ARGUMENTS]

Reinforcement learning of language models that are served in INT4.

{verbs}

examples:
  k2rl prepare smollm2 --output models/smollm2-135m-instruct
  k2rl train configs/smollm2_cpu.toml --dry-run            check everything, start nothing
  k2rl train configs/smollm2_cpu.toml learner.lr=2e-6      files merge left to right, then overrides
  k2rl evaluate models/smollm2-135m-instruct runs/smollm2_cpu/export configs/smollm2_cpu.toml
  k2rl report runs/smollm2_cpu                             writes runs/smollm2_cpu/report.html
  k2rl gyms new my_gym                                     an installable gym with its test
  k2rl gyms doctor                                         what works on this machine

`k2rl VERB --help` tells more. Exit status: 0 well, 1 failed, 2 wrong use or a library is missing, 130 after Ctrl-C.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; the exit status."""
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
    return importlib.import_module(VERBS[name].module).main(given[1:], prog=f"k2rl {name}")


def _help() -> str:
    return _HELP.format(verbs="\n".join(f"  {name:<12}{verb.help}" for name, verb in VERBS.items()))


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
