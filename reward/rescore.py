"""`python -m gyms score`: score stored answers again, one row out for each row in, in order, whatever the rows hold.

A row holds a response, or the turns of an episode, which are replayed.

Rows are read as they are needed and written as they are done, so a file of any length takes the same memory. Gyms
score in killable workers (reward/scorer.py): a row that breaks its verifier is a row with status `crashed` or `timeout`
where a control sample can be scored, and `verifier_error` where not. It is a command of `python -m gyms` although it
lives here, by the entry-point group `gyms_commands`: the gyms room must not import this one.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import logging
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, BinaryIO

from gyms.api import Score, Status
from gyms.load import GymSpec, gym_names
from reward.rows import MAX_ROW_BYTES, Row, parse_row, result_of
from reward.scorer import Scorer

__all__ = ["add_command", "rescore"]

_MAX_AHEAD_ROWS = 512
_MAX_AHEAD_BYTES = 128 << 20
"""Rows are read ahead of the oldest unfinished one up to these."""
_TELL_SECONDS = 2.0
_UNJUDGED = "unjudged"
"""Flag of a score that lacks its judge's part."""

_Pending = Future[list[Score]] | Future[Score] | Score

_EPILOG = """\
each input line:   {"id": 7, "gym": "math", "args": {}, "task": {"answer": "42"}, "response": "... 42"}
or an episode:     {"id": 8, "gym": "adder", "task": {"operands": [1, 2]}, "seed": 0, "turns": [{"text": "3"}]}
each output line:  {"id": 7, "status": "ok", "value": 1.0, "reward": 1.0, "masked": false, "components": {...},
                    "answer": "42", "flags": [], "seconds": 0.001, "cases": [], "provenance": {}, "detail": ""}

An episode is replayed, turn by turn, as far as the environment asks for turns (docs/gyms.md has their form).
gym is an entry-point name, module:Class, file.py:Class or reasoning_gym:DATASET; args are its settings.
value is the fraction that holds, reward what is learned from; rows with masked = true are faults of ours (see detail).
No judge is asked: a row of a gym that needs one has the flag "unjudged", and its reward is only what code can check.

example:  python -m gyms score --input rows.jsonl --output scores.jsonl --workers 4
"""


@dataclass
class Summary:
    """What was scored."""

    rows: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    unjudged: int = 0
    rewards: float = 0.0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        masked = sum(count for status, count in self.statuses.items() if Status(status).is_masked)
        kept = self.rows - masked
        return {
            "rows": self.rows,
            "masked": masked,
            "unjudged": self.unjudged,
            "mean_reward": self.rewards / kept if kept else None,
            "statuses": dict(sorted(self.statuses.items())),
            "seconds": round(self.seconds, 3),
        }


def add_command(commands: Any) -> None:
    """Add `score` to the parser of `python -m gyms`."""
    command = commands.add_parser(
        "score",
        help="score stored answers: rows in, scores out",
        description="Score stored answers again, in killable worker processes; one row out for each row in, in order.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--input", required=True, metavar="FILE", help="JSONL file of rows; - is standard input")
    command.add_argument("--output", required=True, metavar="FILE", help="JSONL file of scores; - is standard output")
    command.add_argument("--workers", type=int, default=None, metavar="N", help="rows at one time; default: CPUs, <= 8")
    command.add_argument("--start-seconds", type=float, default=120.0, help="longest that building a gym may take")
    command.add_argument("--json", action="store_true", help="print a summary as one JSON object")
    command.set_defaults(run=_run)


def rescore(
    lines: BinaryIO, output: IO[str], scorer: Scorer, *, window: int = _MAX_AHEAD_ROWS
) -> Iterator[tuple[Score, float]]:
    """Write the row of each line's score to `output`, in order; yields score and reward when their row is written."""
    specs: dict[str, str] = {}
    ahead: deque[tuple[Row, str, int, _Pending]] = deque()
    size = 0

    def write_oldest() -> tuple[Score, float]:
        nonlocal size
        row, name, num_bytes, pending = ahead.popleft()
        size -= num_bytes
        result = pending if isinstance(pending, Score) else pending.result()
        score = result if isinstance(result, Score) else result[0]
        minimum = scorer.minimum(name) if name else 0.0
        if name and scorer.needs_judge(name) and not score.status.is_masked:
            score = replace(score, flags=score.flags | {_UNJUDGED})
        found = result_of(row.id, score, minimum=minimum)
        output.write(json.dumps(found, allow_nan=False) + "\n")
        return score, found["reward"]

    for number, line in enumerate(_lines(lines), start=1):
        row = parse_row(line, number=number)
        name, pending = _submit(row, number, specs, scorer)
        ahead.append((row, name, len(line), pending))
        size += len(line)
        while ahead and (len(ahead) >= window or size > _MAX_AHEAD_BYTES or _is_done(ahead[0][3])):
            yield write_oldest()
    while ahead:
        yield write_oldest()


def _submit(row: Row, number: int, specs: dict[str, str], scorer: Scorer) -> tuple[str, _Pending]:
    """The name of the row's gym in the scorer, and its score or the future of it."""
    fault = row.fault or _fault_of_reference(row.gym)
    if fault or row.task is None:
        return "", Score(status=Status.BAD_TASK, detail=fault)
    try:
        settings = json.dumps(row.args, sort_keys=True)
    except (ValueError, RecursionError) as error:
        return "", Score(status=Status.BAD_TASK, detail=f"args: {type(error).__name__}: {error!s:.200}")
    key = row.gym if not row.args else f"{row.gym} {hashlib.blake2b(settings.encode(), digest_size=8).hexdigest()}"
    if key not in specs:
        specs[key] = key
        scorer.add_gym(GymSpec(name=key, reference=row.gym, args=row.args, config_key="row"))
    if row.turns is not None:
        return key, scorer.submit_episode(f"line {number}", key, row.task, row.turns, seed=row.seed)
    return key, scorer.submit(f"line {number}", key, row.task, row.response)


def _fault_of_reference(reference: str) -> str:
    """Why a bare name cannot be a gym, told without starting a worker for it."""
    if not reference.strip() or "\x00" in reference or len(reference) > 1000:
        return f"gym = {reference!r:.100}: not the name of a gym"
    if ":" in reference or reference.endswith(".py") or reference in _installed():
        return ""
    return f"gym = {reference!r:.100}: there is no gym of that name; installed gyms: {', '.join(sorted(_installed()))}"


_names: frozenset[str] | None = None


def _installed() -> frozenset[str]:
    global _names
    if _names is None:
        _names = frozenset(gym_names())
    return _names


def _is_done(pending: _Pending) -> bool:
    return isinstance(pending, Score) or pending.done()


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines as bytes; of one that is too long only the start, and one byte more than is allowed."""
    while line := source.readline(MAX_ROW_BYTES + 1):
        yield line
        while len(line) > MAX_ROW_BYTES and not line.endswith(b"\n"):
            line = source.readline(MAX_ROW_BYTES + 1)


def _run(options: argparse.Namespace) -> dict[str, Any] | None:
    workers = options.workers or min(8, len(os.sched_getaffinity(0)))
    if workers < 1 or not options.start_seconds > 0:
        raise ValueError(f"--workers = {options.workers}, --start-seconds = {options.start_seconds}: must be above 0")
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_source(options.input))
        output = stack.enter_context(_output(options.output, options.input))
        # What a worker reported is in the row's detail; a million rows must not log a million lines.
        logging.getLogger("reward").setLevel(logging.ERROR)
        scorer = stack.enter_context(Scorer([], num_workers=workers, start_seconds=options.start_seconds))
        summary = Summary()
        is_whole = _follow(rescore(source, output, scorer), summary, output)
    facts = {"output": options.output, "is_whole": is_whole, **summary.as_dict()}
    if options.output == "-":
        if options.json:
            print(json.dumps(facts), file=sys.stderr)
        facts = None
    if not is_whole:
        print(f"stopped: {summary.rows} whole rows were written to {options.output}", file=sys.stderr)
        raise SystemExit(130)
    return facts


def _follow(scores: Iterator[tuple[Score, float]], summary: Summary, output: IO[str]) -> bool:
    """Count the scores and tell the progress on standard error; False where Ctrl-C ended it."""
    started = told = time.monotonic()
    is_terminal = sys.stderr.isatty()
    try:
        for score, reward in scores:
            summary.rows += 1
            summary.statuses[str(score.status)] += 1
            summary.rewards += reward
            summary.unjudged += _UNJUDGED in score.flags
            now = time.monotonic()
            if now - told >= _TELL_SECONDS * (1 if is_terminal else 5):
                told = now
                output.flush()
                _tell(summary, now - started, end="\r" if is_terminal else "\n")
    except KeyboardInterrupt:
        return False
    finally:
        summary.seconds = time.monotonic() - started
        output.flush()
    _tell(summary, summary.seconds, end="\n")
    if summary.unjudged:
        print(
            f"warning: {summary.unjudged} rows are of gyms that need a judge, which was not asked: their rewards are "
            f'only what code can check (flag "{_UNJUDGED}")',
            file=sys.stderr,
        )
    return True


def _tell(summary: Summary, seconds: float, *, end: str) -> None:
    facts = summary.as_dict()
    rate = summary.rows / seconds if seconds > 0 else 0.0
    print(f"scored {summary.rows} rows, {rate:.0f}/s, {facts['masked']} masked", end=end, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _source(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(name).open("rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise ValueError(
            f"--input {name!r} cannot be read: {error.strerror}; give a JSONL file, or - for stdin"
        ) from None
    with stream:
        yield stream


@contextlib.contextmanager
def _output(name: str, source: str) -> Iterator[IO[str]]:
    if name == "-":
        yield sys.stdout
        return
    path = Path(name)
    if source != "-" and path.exists() and path.samefile(source):
        raise ValueError(f"--output {name!r} is the input file; give another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("w", encoding="ascii")
    except OSError as error:
        raise ValueError(f"--output {name!r} cannot be written: {error.strerror}") from None
    with stream:
        yield stream
