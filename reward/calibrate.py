"""How far does a judge agree with people? `python -m reward.calibrate --pairs FILE --judge JUDGE`

FILE holds pairs with human labels (reward/judges/labels.py); JUDGE is a name of reward/judges/load.py. Every pair is
asked in both orders. `--resume VERDICTS` stores each verdict as a line of JSON as it comes and asks nothing twice: the
key is a hash of judge, settings, prompt version, rubric and texts in their order, so that a changed rubric or prompt is
asked anew. Failures are never stored. Exit status: 0, 1 where no pair got a verdict, 2 for a bad argument or file.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from gyms.critic.verdict import Outcome
from gyms.permutation import permute
from reward.agreement import agreement
from reward.calibration import compare_both_orders
from reward.critic_report import Match
from reward.judges.api import Compares, Comparison, Pair
from reward.judges.labels import LabelledPair, read_pairs
from reward.judges.load import load_judge
from reward.judges.prompted import PromptedJudge, PromptSettings
from reward.rubric import Rubric, load_rubric
from reward.together import together

__all__ = ["RememberingJudge", "main"]

PROGRESS_SECONDS = 5.0


def main(argv: Sequence[str] | None = None, *, prog: str = "python -m reward.calibrate") -> int:
    """Run the command line; the exit status."""
    options = _parser(prog).parse_args(argv)
    try:
        found = asyncio.run(_run(options))
    except ValueError as error:
        print(json.dumps({"error": str(error)}) if options.json else str(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped" + ("; the verdicts so far are kept" if options.resume else ""), file=sys.stderr)
        return 130
    print(json.dumps(found) if options.json else _as_text(found))
    return 0 if found["agreement"] is not None else 1


class RememberingJudge:
    """A judge whose verdicts are kept in a file of JSON lines, and looked up there first."""

    def __init__(self, judge: Compares, path: Path) -> None:
        self.judge = judge
        self.name = judge.name
        self.cost = judge.cost
        self.num_remembered = 0
        try:
            self._known = dict(_stored(path))
            self._file = _opened_at_a_line_start(path)
        except OSError as error:
            raise ValueError(f"--resume {path}: verdicts cannot be stored there: {error.strerror}") from None

    async def compare(self, pair: Pair) -> Comparison:
        """The stored verdict, or the judge's, which is then stored."""
        key = verdict_key(self.judge.name, pair)
        if key in self._known:
            self.num_remembered += 1
            return Comparison(outcome=self._known[key])
        comparison = await self.judge.compare(pair)
        self._known[key] = comparison.outcome
        self._file.write(json.dumps({"key": key, "outcome": str(comparison.outcome)}) + "\n")
        self._file.flush()
        return comparison

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def verdict_key(judge_name: str, pair: Pair) -> str:
    """Names a verdict by all that it depends on; the order is in it, because the texts stand in their order."""
    rubric = [criterion.model_dump(mode="json") for criterion in pair.rubric.criteria] if pair.rubric else None
    label = pair.rubric.label if pair.rubric else ""
    facts = json.dumps([judge_name, label, rubric, pair.question, pair.first, pair.second])
    return hashlib.blake2b(facts.encode("ascii"), digest_size=16).hexdigest()


async def _run(options: argparse.Namespace) -> dict[str, Any]:
    pairs = _chosen(read_pairs(options.pairs), options.limit, options.seed)
    rubric = load_rubric(options.rubric)
    judge = load_judge(
        options.judge,
        PromptSettings(
            style=options.style,
            decides=options.decides,
            seed=options.seed,
            max_tokens=options.max_tokens,
            max_in_flight=2 * options.concurrency,
            deadline_seconds=options.deadline,
        ),
        key_env=options.key_env,
        endpoint={"guided": options.guided},
    )
    asked = RememberingJudge(judge, options.resume) if options.resume else judge
    start = time.monotonic()
    try:
        matches = await _matches(asked, pairs, rubric, options)
    finally:
        if isinstance(asked, RememberingJudge):
            asked.close()
        if isinstance(judge, PromptedJudge):
            await judge.aclose()
    cost = asked.cost
    return {
        "judge": judge.name,
        "rubric": rubric.label,
        "pairs": str(options.pairs),
        **asdict(agreement([pair.label for pair in pairs], matches)),
        "num_remembered": asked.num_remembered if isinstance(asked, RememberingJudge) else 0,
        "num_calls": cost.num_calls,
        "num_retries": cost.num_retries,
        "num_prompt_tokens": cost.num_prompt_tokens,
        "num_tokens": cost.num_tokens,
        "failures": dict(sorted(cost.failures.items())),
        "seconds": round(time.monotonic() - start, 3),
    }


async def _matches(
    judge: Compares, pairs: Sequence[LabelledPair], rubric: Rubric, options: argparse.Namespace
) -> list[Match]:
    """Every pair in both orders, `concurrency` pairs at a time, in the pairs' order."""
    matches: dict[int, Match] = {}
    todo: Iterator[tuple[int, LabelledPair]] = iter(list(enumerate(pairs)))
    shown = time.monotonic()

    async def work() -> None:
        nonlocal shown
        for number, pair in todo:
            one = Pair(key=pair.id, question=pair.prompt, first=pair.first, second=pair.second, rubric=rubric)
            matches[number] = await compare_both_orders(judge, one)
            if time.monotonic() - shown > PROGRESS_SECONDS:
                shown = time.monotonic()
                print(f"{len(matches)} of {len(pairs)} pairs", file=sys.stderr)

    await together([work() for _ in range(options.concurrency)])
    return [matches[number] for number in range(len(pairs))]


def _chosen(pairs: list[LabelledPair], limit: int | None, seed: int) -> list[LabelledPair]:
    """`limit` of the pairs, chosen by the seed, in the file's order: files are often sorted by topic."""
    if limit is None or limit >= len(pairs):
        return pairs
    places = sorted(permute(place, len(pairs), f"calibrate {seed}") for place in range(limit))
    return [pairs[place] for place in places]


def _stored(path: Path) -> Iterator[tuple[str, Outcome]]:
    """Verdicts of an earlier run; a torn last line, from a kill, is passed over, any other bad line refused."""
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield str(row["key"]), Outcome(row["outcome"])
        except (ValueError, LookupError, TypeError) as error:
            if number == len(lines):
                return
            raise ValueError(f"{path}:{number}: not a stored verdict ({error}); remove the line or the file") from None


def _opened_at_a_line_start(path: Path) -> TextIO:
    """The file, to append to, without the torn line at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raw = path.read_bytes()
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            os.truncate(path, whole)
    return path.open("a", encoding="ascii")


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Agreement of a judge with people.")
    add = parser.add_argument
    add("--pairs", type=Path, required=True, metavar="FILE", help="pairs with human labels, JSON or JSON lines")
    add("--judge", required=True, help="longer, first, random:SEED, human:FILE, openai:MODEL@URL, NAME, module:factory")
    add("--rubric", default="core+prescriptive", help="rubric packs joined by + (default: %(default)s)")
    add("--limit", type=_positive, metavar="N", help="ask only N pairs, chosen by the seed")
    add("--seed", type=int, default=0, help="of the choice, the fences and the judge's sampling")
    add("--resume", type=Path, metavar="VERDICTS", help="store verdicts in this file and ask nothing twice")
    add("--concurrency", type=_positive, default=8, metavar="N", help="pairs at a time (default: %(default)s)")
    add("--deadline", type=float, default=120.0, metavar="SECONDS", help="longest call (default: %(default)s)")
    styles = ("full", "short", "bare", "quote")
    add("--style", choices=styles, default="full", help="of the prompt (default: %(default)s)")
    add("--decides", choices=("weights", "judge"), default="weights", help="who weighs the criteria")
    add("--max-tokens", type=_positive, default=512, metavar="N", help="of a reply (default: %(default)s)")
    add("--key-env", default="", metavar="NAME", help="environment variable that holds the endpoint's key")
    add("--guided", choices=("json_schema", "vllm", "none"), default="json_schema", help="how the endpoint is guided")
    add("--json", action="store_true", help="print one JSON object")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _as_text(found: dict[str, Any]) -> str:
    lines = []
    for key, value in found.items():
        if key == "confusion":
            lines += ["confusion (row: people, column: judge; first, second, tie)"]
            lines += [f"  {' '.join(f'{count:6d}' for count in row)}" for row in value]
        elif isinstance(value, float):
            lines.append(f"{key}: {value:.4f}")
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
