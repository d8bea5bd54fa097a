"""A stored step of a run through the learner again: `python -m rl.replay RUN STEP`.

Exit codes: 0 done; 1 failed, the reason is the last line; 2 the run, the step or an override is not right.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gyms.extras import EXTRAS, check_installed
from rl.cli import last_words, quiet

__all__ = ["main"]

DESCRIPTION = """\
Feed the samples of a stored step into the learner, without engines, and print the losses and the gradient norm beside
what the run logged. It starts from the newest checkpoint at or before the step, and does the steps in between again.
Nothing in the run folder is changed."""

EPILOG = """\
examples:
  python -m rl.replay runs/tiny_cpu 50
  python -m rl.replay runs/tiny_cpu 50 learner.loss=grpo learner.aggregation=token     what another loss would have done
  python -m rl.replay runs/tiny_cpu 50 learner.mismatch.correction=none --json

What may be changed is what only an update reads: learner.loss, .aggregation, .tau, .clip_*, .squared_over,
.mismatch.*, .lr*, .max_grad_norm, .max_microbatch_tokens and ptx.coef. Steps on the way keep the run's settings."""

SHOWN = (
    "policy_loss", "ptx_loss", "grad_norm", "update_size", "log_ratio_mean", "log_ratio_std", "clipped_frac",
    "weight_ess", "weight_dropped_frac", "router_aux", "routing_flip_frac", "num_samples",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.replay") -> int:
    """Parse, replay, print; returns the exit code."""
    options = _parser(prog).parse_intermixed_args(arguments)
    try:
        quiet()
        check_installed(EXTRAS, user="a replay", extra="cpu")
        from rl.offline import replay

        found = replay(options.run, options.step, options.overrides, say=lambda text: print(text, file=sys.stderr))
    except (OSError, ValueError) as error:
        print(f"not replayed: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"replay failed: {last_words(error)}", file=sys.stderr)
        return 1
    numbers = {
        name: {"replayed": found.found[f"learner/{name}"], "logged": found.logged.get(f"learner/{name}")}
        for name in SHOWN
    }
    if options.json:
        facts = {"step": found.step, "checkpoint": str(found.checkpoint), "changed": list(found.changed)}
        print(json.dumps(facts | {"learner": numbers}, indent=2))
        return 0
    print(f"step {found.step} of {options.run}, from {found.checkpoint.name}, {len(found.updates)} updates")
    print(f"{'':22}{'replayed':>24}{'logged':>24}")
    for name, pair in numbers.items():
        print(f"{name:22}" + "".join(f"{'-' if value is None else repr(value):>24}" for value in pair.values()))
    print(_verdict(numbers, found.changed))
    return 0


def _verdict(numbers: Mapping[str, Mapping[str, Any]], changed: Sequence[str]) -> str:
    if changed:
        return f"with other settings than the run: {', '.join(changed)}"
    off = {
        name: abs(pair["replayed"] - pair["logged"]) / max(abs(pair["logged"]), 1e-12)
        for name, pair in numbers.items()
        if None not in pair.values() and pair["replayed"] != pair["logged"]
    }
    if not off:
        return "equal to what the run logged, to the last digit"
    worst = max(off, key=lambda name: math.inf if math.isnan(off[name]) else off[name])
    return (
        f"{len(off)} of {len(numbers)} numbers differ, {worst} by a fraction of {off[worst]:.1e}: rounding, where this "
        "is another machine, another version or another number of threads"
    )


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("step", type=int, metavar="STEP", help="number of a step, from 0, as in metrics.jsonl")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="settings for this step alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
