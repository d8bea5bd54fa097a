"""The command line of a run: read and check the config, then train. Errors of the user are one clear last line.

Exit codes: 0 done; 1 failed, the reason is the last line; 2 the config or the machine is not right, nothing was
started; 130 stopped by Ctrl-C, a checkpoint was written.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.load import ConfigError, kept_on_resume, load_config, to_json
from gyms.cli.show import clean
from gyms.extras import EXTRAS, check_installed

if TYPE_CHECKING:
    from rl.console import Mode
    from rl.run_folder import RunFolder

__all__ = ["last_words", "main", "quiet"]

DESCRIPTION = """\
Reinforcement learning of a language model that is served in INT4: sample with vLLM, score with verifiable gyms, learn
through the INT4 grid, hot-swap the packed weights into the running engines.

Run the same command again after a kill or Ctrl-C and it goes on from the last checkpoint."""

EPILOG = """\
examples:
  python -m rl.train configs/tiny_cpu.toml                              a tiny model learns to add, in minutes on a CPU
  python -m rl.train configs/tiny_cpu.toml seed=1 run_dir=/tmp/tiny-1   another seed, another folder
  python -m rl.train configs/smollm2_cpu.toml mine.toml learner.lr=2e-6 files merge left to right, then overrides
  python -m rl.train configs/smollm2_cpu.toml --dry-run                 check everything, start nothing

Every setting with its unit and range: docs/configuration.md."""


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.train") -> int:
    """Parse, check, train; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character must not end a run that shows one
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    options = _parser(prog).parse_intermixed_args(arguments)  # overrides may follow options
    files = [Path(item) for item in options.config if "=" not in item]
    overrides = [item for item in options.config if "=" in item]
    try:
        config = load_config(files, overrides)
    except ValueError as error:
        return _refuse(error)
    if options.print:
        print(to_json(config), end="")
        return 0
    quiet()
    folder: RunFolder | None = None
    with contextlib.ExitStack() as to_the_end:
        try:
            check_installed(EXTRAS, user="a run", extra="cpu")  # a run's gyms and judges may need any of them
            from rl.preflight import check, resolve_run_folder
            from rl.run_lock import only_run_in

            folder = resolve_run_folder(config)
            if not options.dry_run:
                to_the_end.enter_context(only_run_in(folder.path))
            checked = check(config, say=lambda text: print(text, file=sys.stderr))
        except ValueError as error:
            return _refuse(error, folder)
        if options.dry_run:
            _show_dry_run(checked)
            return 0
        return _train(checked, mode="json" if options.json else "quiet" if options.quiet else "auto")


def _show_dry_run(checked) -> None:
    for note in checked.notes:
        print(f"note: {note}")
    onward = "" if checked.checkpoint is None else f"goes on from step {checked.checkpoint.step}, "
    print(
        f"{checked.config.name}: ready. {onward}{checked.num_parameters / 1e6:.1f} M parameters from "
        f"{checked.model_folder}, {', '.join(entry.name for entry in checked.gyms)}, run folder "
        f"{checked.folder.path}"
    )


def _train(checked, *, mode: Mode) -> int:
    from rl.console import view_of
    from rl.provenance import start_facts
    from rl.report import Report
    from rl.run import Run
    from rl.trackers import start_trackers
    from rl.train import train

    report: Report | None = None
    try:
        checked.folder.create()
        first_step = None if checked.checkpoint is None else checked.checkpoint.step
        checked.folder.append(checked.folder.starts, start_facts(step=first_step or 0))
        trackers = start_trackers(checked.config, checked.folder.path, first_step=first_step)
        report = Report(checked.config, checked.folder.path, view_of(mode), trackers)
        for note in checked.notes:
            report.say(note)
        is_done = asyncio.run(train(Run(checked, report)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped without a checkpoint; run the same command to go on from the last one", file=sys.stderr)
        return 130
    except ConfigError as error:  # the folder holds another run
        return _refuse(error)
    except Exception as error:  # the process ends here: the trace goes to a file, the reason to the last line
        kept = _keep_trace(checked.folder.path / "error.log")
        told = f"{last_words(error)}{_unchanged(error, checked.folder)}"
        print(f"{kept}\nrun failed: {type(error).__name__}: {told}", file=sys.stderr)
        return 1
    finally:
        if report is not None:
            report.close()
    if not is_done:
        print("stopped with a checkpoint; run the same command to go on", file=sys.stderr)
    return 0 if is_done else 130


def _keep_trace(log: Path) -> str:
    """Write the trace of the error at hand; where it is, or the trace itself where the file cannot be written."""
    trace = traceback.format_exc()
    try:
        log.write_text(trace, encoding="utf-8", errors="backslashreplace")
    except OSError:
        return clean(trace, keep="\n")
    return f"trace: {log}"


def _refuse(error: ValueError, folder: RunFolder | None = None) -> int:
    told = clean(str(error), keep="\n")
    print(f"not started: {told}{_unchanged(error, folder)}", file=sys.stderr)
    return 2


def _unchanged(error: Exception, folder: RunFolder | None) -> str:
    """What to add to a message that may advise to change what the run in the folder keeps when it goes on."""
    is_told = isinstance(error, ConfigError) or "run_dir" in str(error)
    if is_told or folder is None or not any(folder.checkpoints.glob("step_*")):
        return ""
    keys = ", ".join(kept_on_resume(str(error)))
    return f"; the run in {folder.path} keeps its {keys}: to set another value, start a new run_dir" if keys else ""


def last_words(error: BaseException) -> str:
    """An error as one line of bounded length, whatever it quotes."""
    return clean(" ".join(str(error).split())[:2000])


def quiet() -> None:
    """Libraries' progress bars and notices would bury ours; set by the user, they stay."""
    for key, value in {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DEDUP_LOGS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }.items():
        os.environ.setdefault(key, value)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", nargs="+", metavar="CONFIG.toml | key.path=value", help="files and overrides")
    parser.add_argument("--print", action="store_true", help="show the resolved config as JSON and stop")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--quiet", action="store_true", help="no line a step: notes and the table at the end")
    shown.add_argument("--json", action="store_true", help="one JSON object a line in place of words (docs/metrics.md)")
    parser.add_argument("--dry-run", action="store_true", help="check all that can be checked, start nothing")
    return parser
