"""No response, however hostile, gets a masked status of a built-in gym: a mask would be better than a reward of 0."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from gyms.api import Call, Environment, Score, Task, Tool, Turn
from gyms.critic.prompt import PromptStyle
from gyms.episodes.arguments import read_call
from gyms.load import GymSpec
from gyms.testing import ODD_RESPONSES
from reward.control import CONTROL_FLAG
from reward.scorer import Scorer

BOX = "\\boxed{%s}"
PYTHON = "```python\n%s\n```"
SQL = "```sql\n%s\n```"
HOSTILE = (
    *ODD_RESPONSES,
    "".join(map(chr, range(32))) + "\x7f\x80\x9f\u2028\ufeff",
    "answer\x00: 4\x00",
    "\udfff" * 1000,
    "9" * 1_000_000,
    BOX % "9**9**9**9",
    BOX % "9^{9^{9^{9}}}",
    BOX % "1000000000!",
    BOX % ("(" * 50_000 + "1" + ")" * 50_000),
    BOX % ("\\frac{1}{" * 3000 + "2" + "}" * 3000),
    BOX % ("\\sqrt{" * 20_000),
    BOX % "\\sum_{n=1}^{10^9} \\prod_{k=1}^{10^7} k",
    BOX % ("1+" * 100_000 + "1"),
    BOX % "1e999999999",
    BOX % "\ud800",
    "{" * 100_000,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 50_000 + "1" + "}" * 50_000,
    "<answer>" * 20_000,
    "<think>" * 20_000,
    "*" * 100_000 + "\n" + "#" * 100_000,
    "a" * 50_000 + "!" + " " * 50_000,
    "\u0301" * 50_000,
    "```" * 50_000,
    PYTHON % "while True: pass",
    PYTHON % "import os\nos.kill(os.getppid(), 9)\nos._exit(0)",
    PYTHON % "x = [0] * 10**10",
    PYTHON % ("(" * 5000 + ")" * 5000),
    PYTHON % "\x00",
    PYTHON % "\ud800 = 1",
    PYTHON % "import sys\nsys.setrecursionlimit(10**9)\ndef f(*a, **k): return f(*a, **k)",
    PYTHON % "import os\nfor fd in range(3, 99):\n    try: os.write(fd, b'garbage\\n' * 99)\n    except OSError: pass",
    PYTHON % "class L(int):\n    def __eq__(s, o): raise SystemExit\ndef __getattr__(n): return lambda *a: L()",
    '{"winner": ' * 3000 + '"A"' + "}" * 3000,
    '{"winner": ' + "9" * 15_000 + "}",
    '{"winner": 1e999999999}',
    '{"winner": NaN}',
    '{"winner": "A", "winner": "B"}',
    '{"winner": "A", "\\ud800": "\\udfff"}',
    '{"winner": ["A", {"B": null}]}',
    '{"winner": "A"} {"winner": "A"}',
    "[[A>>B]]\nA\nB\ntie\nneither",
    SQL % "SELECT 1; DROP TABLE sale; --",
    SQL % "ATTACH DATABASE '/tmp/x' AS x",
    SQL % "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    SQL % "SELECT group_concat(hex(zeroblob(999))) FROM sale a, sale b, sale c",
    SQL % ("SELECT " + "(" * 3000 + "1" + ")" * 3000),
    SQL % "SELECT '\x00\ud800'",
)


def gym_args(tmp_path: Path) -> dict[str, dict[str, Any]]:
    for name, first in (("train", 0), ("test", 100)):
        rows = [
            {"question": f"Ann has {n} pens and loses one. How many?", "answer": f"{n}-1\n#### {n - 1}"}
            for n in range(first, first + 5)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = {"train_file": str(tmp_path / "train.jsonl"), "heldout_file": str(tmp_path / "test.jsonl")}
    small = {"cpu_seconds": 0.3, "wall_seconds": 20.0, "memory_mb": 256}
    styles = {f"critic {style}": {"style": style} for style in get_args(PromptStyle)}
    return {"gsm8k": files, "code": small, **styles}


@pytest.mark.parametrize(
    "name",
    [
        *("arithmetic", "chat", "code", "constraints", "gsm8k", "logic", "math"),
        *(f"critic {style}" for style in get_args(PromptStyle)),
        str(Path(__file__).parents[2] / "examples" / "sql_gym" / "sql_gym.py"),
    ],
)
def test_no_response_leads_to_a_masked_status(name: str, tmp_path: Path) -> None:
    spec = GymSpec(name=name, reference=name.partition(" ")[0], args=gym_args(tmp_path).get(name, {}))
    asked: list[Task] = [spec.build().tasks("train")[0]]

    async def scored(scorer: Scorer) -> list[Score]:
        pairs = [(task, response) for task in asked for response in HOSTILE]
        return await asyncio.gather(
            *(scorer.score(str(i), name, task, response) for i, (task, response) in enumerate(pairs))
        )

    with Scorer([spec], num_workers=2) as scorer:
        scores = asyncio.run(scored(scorer))
    masked = [(r[:60], s.status, s.detail) for r, s in zip(HOSTILE, scores, strict=True) if s.status.is_masked]
    assert not masked


def hostile_calls(tools: Sequence[Tool], text: str, number: int) -> list[Call]:
    """A call of each tool with the text as its arguments, as a text in them, and as the tool's name."""
    calls = []
    for tool in tools:
        properties = tool.parameters["properties"]
        fitting = {"string": text, "integer": 1, "array": []}
        arguments = {name: fitting[schema["type"]] for name, schema in properties.items()}
        for name, given in ((tool.name, text), (tool.name, arguments), (text, "{}")):
            calls.append(read_call(tools, call_id=f"call_{number + len(calls)}", tool=name, arguments=given))
    return calls


@pytest.mark.parametrize("reference", ["gyms.adder.gym:Adder", "gyms.tools.gym:Tools"])
def test_no_turn_leads_to_a_masked_status_or_breaks_the_environment(reference: str) -> None:
    spec = GymSpec(name="env", reference=reference)
    env = spec.build()
    assert isinstance(env, Environment)
    asked = [env.tasks("train")[index] for index in range(6)]
    with Scorer([spec], num_workers=2) as scorer:
        pending = []
        for number, text in enumerate(HOSTILE):
            task = asked[number % len(asked)]
            calls = tuple(hostile_calls(env.tools(task), text, number=0))
            turns = [Turn(text=text, calls=calls), Turn(text=text, is_truncated=True), Turn(text=text)]
            pending.append(scorer.submit_episode(str(number), "env", task, turns, seed=number))
        scores = [score.result() for score in pending]
    broken = [
        (r[:60], s) for r, s in zip(HOSTILE, scores, strict=True) if s.status.is_masked or CONTROL_FLAG in s.flags
    ]
    assert not broken
