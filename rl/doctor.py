"""`k2rl doctor`: what works on this machine for a run and for gyms, what does not and why, and whether that matters.

The checks of `gyms doctor` (sandbox, programs, libraries, plug-ins), and before them those of a run. A check tries
things out and never raises for what it finds. Exit status: 0 nothing needs repair; 1 something does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gyms.cli.doctor import CHECKS, Finding, facts_of, show_doctor
from gyms.cli.show import show
from gyms.extras import EXTRAS, check_installed

__all__ = ["RUN_CHECKS", "main"]

EPILOG = """\
examples:
  k2rl doctor           a table for each group of things, and a verdict
  k2rl doctor --json    the same for programs
`failed` needs repair; a `note` is about something optional. `k2rl train CONFIG --dry-run` checks a config."""
MIN_BYTES = 8 << 30
"""Memory that the shipped CPU configs need, with their processes."""


def libraries() -> Iterator[Finding]:
    """Whether a run's libraries are installed, and which engine."""
    try:
        check_installed(EXTRAS, user="a run", extra="cpu")
    except ValueError as error:
        yield _finding("libraries", "note", str(error), "without them gyms work, and nothing else")
        return
    yield _finding("libraries", "ok", "all that a run needs", "learner, Ray, gyms' data")
    from rollout.engine.compat import RECOMMENDED, check_version

    try:
        yield _finding("vLLM", "ok", check_version(), f"{RECOMMENDED} is what is tested")
    except ValueError as error:
        yield _finding("vLLM", "failed", str(error), "the engine")


def devices() -> Iterator[Finding]:
    """What learner and engines compute on."""
    try:
        check_installed(["torch"], user="a run")
    except ValueError:
        return
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield _finding(
            "device", "ok", ", ".join(names), f"torch {torch.__version__}; not tested by us (docs/limits.md)"
        )
    else:
        found = f"CPU ({torch.backends.cpu.get_cpu_capability()}), torch {torch.__version__}"
        yield _finding("device", "ok", found, "runs with small models")


def room() -> Iterator[Finding]:
    """Memory, and disk where the command runs."""
    try:
        check_installed(EXTRAS, user="a run", extra="cpu")
        from rl.preflight import available_memory

        free = available_memory()
        state = "ok" if free >= MIN_BYTES else "note"
        yield _finding("memory", state, f"{free / 2**30:.1f} GiB free", "the shipped CPU configs need up to 8 GiB")
    except ValueError:
        pass
    disk = shutil.disk_usage(Path.cwd()).free
    state = "ok" if disk >= 10 << 30 else "note"
    yield _finding("disk", state, f"{disk / 2**30:.1f} GiB free in {Path.cwd()}", "checkpoints: 12 bytes a parameter")


def ray() -> Iterator[Finding]:
    """What Ray and the engine call, and where Ray keeps its sockets."""
    from rl.machine import check_programs, check_ray_folder

    for name, check, matters in (
        ("programs", lambda: check_programs(on_cpu=_on_cpu()), "bash for Ray's workers, lscpu for engines on a CPU"),
        ("Ray's folder", lambda: check_ray_folder(os.environ, pid=os.getpid()), "sockets and logs of a local cluster"),
    ):
        try:
            check()
        except ValueError as error:
            yield _finding(name, "failed", str(error), matters)
        else:
            yield _finding(name, "ok", "fine", matters)
    address = os.environ.get("RAY_ADDRESS")
    yield _finding("cluster", "ok", address or "a run starts its own", "RAY_ADDRESS, or cluster.address of a config")


def _on_cpu() -> bool:
    try:
        check_installed(["torch"], user="a run")
    except ValueError:
        return True
    import torch

    return not torch.cuda.is_available()


def tracking() -> Iterator[Finding]:
    """Where curves go."""
    from rl.trackers import has_wandb_key

    found = "online" if has_wandb_key() else "no key: an offline folder in the run folder"
    yield _finding("wandb", "ok", found, "report.wandb; docs/metrics.md")


RUN_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (libraries, devices, room, ray, tracking)


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.doctor") -> int:
    """Look, show; the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="What works on this machine, what does not and why, and whether that matters.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print the facts as one JSON document")
    options = parser.parse_args(arguments)
    facts = facts_of((*RUN_CHECKS, *CHECKS))
    if options.json:
        print(json.dumps(facts))
    else:
        show(show_doctor(facts))
    return 0 if facts["is_well"] else 1


def _finding(name: str, state, found: str, matters: str) -> Finding:
    return Finding(group="A run", name=name, state=state, found=found, matters=matters)


if __name__ == "__main__":
    sys.exit(main())
