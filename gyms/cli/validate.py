"""`validate NAME`: does a gym keep the contract? And how a command opens the gym that its options name."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from gyms.api import Environment, Gym
from gyms.cli.show import Block, listed
from gyms.load import Keys
from gyms.opening import opened
from gyms.rows import Skipped
from gyms.testing import check_gym

__all__ = ["gym_of", "show_validate", "validate"]

_MAX_SECONDS = 1800.0
"""Longest that checking or attacking one gym may take in all; a gym that hangs must not hang its user."""


def validate(options: argparse.Namespace) -> dict[str, Any]:
    """Check a gym against the contract, with the given settings: gold scores 1, garbage nothing, no call overruns."""
    with gym_of(options) as gym:
        check_gym(gym, max_tasks=options.max_tasks, num_episodes=options.episodes)
        is_environment = isinstance(gym, Environment)
        tools = [tool.name for tool in gym.tools(gym.tasks("train")[0])]
        sizes = {split: len(gym.tasks(split)) for split in ("train", "heldout")}
        skipped = getattr(gym, "skipped", None) or Skipped()
    return {
        "gym": options.name,
        "is_valid": True,
        "num_tasks": sizes,
        "max_tasks": options.max_tasks,
        "num_episodes": options.episodes if is_environment else 0,
        "tools": tools,
        "num_skipped_rows": skipped.num_rows,
        "skipped_because": list(skipped.reasons),
    }


def show_validate(facts: Mapping[str, Any]) -> Iterator[Block]:
    """It keeps the contract; which rows it left out."""
    sizes = ", ".join(f"{size} {split}" for split, size in facts["num_tasks"].items())
    yield f"{facts['gym']} keeps the contract. Tasks: {sizes}; at most {facts['max_tasks']} of each were tried."
    if facts["num_episodes"]:
        tools = listed(facts["tools"], none="none")
        yield f"Gold episodes scored 1, and {facts['num_episodes']} of random turns were survived. Tools: {tools}."
    if facts["num_skipped_rows"]:
        skipped = Skipped(num_rows=facts["num_skipped_rows"], reasons=tuple(facts["skipped_because"]))
        yield f"skip_malformed left out {skipped}"


@contextlib.contextmanager
def gym_of(options: argparse.Namespace) -> Iterator[Gym]:
    """The gym that the options name, with what it needs, under a deadline that ends this process."""
    if options.max_tasks < 1:
        raise ValueError(f"--max-tasks = {options.max_tasks}: must be at least 1")
    try:
        args = json.loads(options.args)
    except ValueError as error:
        raise ValueError(
            f"--args: expected a JSON object such as '{{\"max_operand\": 49}}', got {options.args!r}"
        ) from error
    if not isinstance(args, dict):
        raise ValueError(f"--args: expected a JSON object, got {options.args!r}")
    with _deadline(options.name), opened(options.name, args, keys=Keys(gym="NAME", args="--args")) as gym:
        yield gym


@contextlib.contextmanager
def _deadline(name: str) -> Iterator[None]:
    """End the process with status 1 where a gym hangs; a thread for Python code, a C timer for code that holds it."""

    def stop() -> None:
        print(f"{name}: no end within {_MAX_SECONDS:g} s, the gym hangs", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(_MAX_SECONDS, stop)
    timer.daemon = True
    timer.start()
    faulthandler.dump_traceback_later(_MAX_SECONDS + 30, exit=True, file=sys.__stderr__ or 2)
    try:
        yield
    finally:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()
