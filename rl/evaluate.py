"""What models can do on the held-out tasks of a config, side by side: `python -m rl.evaluate MODEL ... CONFIG.toml`.

Exit codes: 0 done; 1 failed, the reason is the last line; 2 a model, the config or the machine is not right, nothing
was started; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from configs.load import load_config
from gyms.extras import EXTRAS, check_installed
from rl.cli import last_words, quiet

__all__ = ["main"]

DESCRIPTION = """\
Held-out accuracy of model folders, BF16 or packed INT4, on the gyms of a config: greedy, sampled (avg@k) and the best
of k (pass@k), each with its 95 % interval. Tasks, seeds and scoring are those of a run's own evaluations."""

EPILOG = """\
examples:
  python -m rl.evaluate runs/smollm2_cpu/export configs/smollm2_cpu.toml
  python -m rl.evaluate models/smollm2-135m-instruct runs/smollm2_cpu/initial_int4 runs/smollm2_cpu/export \\
      configs/smollm2_cpu.toml                                as released, rounded to INT4, trained
  python -m rl.evaluate MODEL CONFIG.toml eval.samples_per_task=8 eval.num_tasks=100     avg@8 and pass@8
  python -m rl.evaluate MODEL CONFIG.toml eval.samples_per_task=8 eval.heavy=8     and one more that sees the 8 answers
  python -m rl.evaluate MODEL CONFIG.toml --max-tokens 16,64,256 model.context_length=512   at three lengths
  python -m rl.evaluate MODEL CONFIG.toml --json > found.json                            progress goes to stderr

A run folder holds models in initial_int4/ (before), export/ (after) and, where it built its model, base/."""


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.evaluate") -> int:
    """Parse, check, evaluate, print; returns the exit code."""
    options = _parser(prog).parse_intermixed_args(arguments)
    overrides = [item for item in options.items if "=" in item and not Path(item).exists()]
    files = [Path(item) for item in options.items if item.endswith(".toml") and item not in overrides]
    models = [item for item in options.items if item not in overrides and not item.endswith(".toml")]
    try:
        if not models or not files:
            missing = "model folder" if not models else "config (a .toml file)"
            raise ValueError(f"no {missing} was given; {prog} MODEL [MODEL ...] CONFIG.toml [key.path=value ...]")
        config = load_config(files, [*overrides, "report.wandb=off"])
        quiet()
        check_installed(EXTRAS, user="an evaluation", extra="cpu")
        from rl.comparison import plan

        chosen = plan(config, models, options.max_tokens)
    except ValueError as error:
        print(f"not started: {error}", file=sys.stderr)
        return 2
    return _compare(chosen, is_json=options.json)


def _compare(chosen, *, is_json: bool) -> int:
    from rich.console import Console

    from rl.comparison import compare, tables
    from rl.console import view_of
    from rl.report import Report

    config = chosen.config
    progress = Console(stderr=True, soft_wrap=True, highlight=False)
    report = Report(config, Path.cwd(), view_of("auto", progress))
    try:
        results = asyncio.run(compare(chosen, report))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped", file=sys.stderr)
        return 130
    except Exception as error:  # the process ends here: the reason is the last line
        print(f"evaluation failed: {type(error).__name__}: {last_words(error)}", file=sys.stderr)
        return 1
    finally:
        report.close()
    k, temperature = config.eval.samples_per_task, config.eval.temperature
    if is_json:
        facts = {"config": config.name, "seed": config.seed, "samples_per_task": k, "temperature": temperature}
        facts["heavy"] = config.eval.heavy
        print(json.dumps(facts | {"results": [result.row() for result in results]}, indent=2))
        return 0
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    for table in tables(results, samples_per_task=k, temperature=temperature, heavy=config.eval.heavy):
        console.print(table)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "items", nargs="+", metavar="MODEL | CONFIG.toml | key.path=value", help="folders, files and overrides"
    )
    parser.add_argument(
        "--max-tokens", type=_lengths, default=(), metavar="N[,N...]",
        help="lengths of responses to evaluate at, one after the other, in place of each gym's budget",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return parser


def _lengths(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted whole numbers above 0, as in 16,64,256")
    return tuple(map(int, parts))


if __name__ == "__main__":
    sys.exit(main())
