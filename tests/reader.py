"""A folder as the reader of the pages has it: the project's folders, and the files that pages tell one to write."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.page_commands import ROOT, blocks
from tests.run_folders import response, siblings, write_run

__all__ = ["RUNS", "make_folder"]

RUNS = (
    "smollm2_cpu", "tiny_cpu", "seed0", "seed1", "tiny_seed1", "tiny_eight", "lr_4e-4", "lr_1e-3", "leaky_sums",
    "strict_sums", "exp/one", "exp/two",
)  # fmt: skip
"""Runs that pages look at."""


def make_folder(path: Path) -> None:
    """Write it all into an empty folder."""
    (path / "configs").mkdir()
    for file in (*(ROOT / "configs").iterdir(), *(ROOT / name for name in ("examples", "benchmarks", "models"))):
        if file.exists():
            (path / file.relative_to(ROOT)).symlink_to(file)
    for name in ("base", "mine"):
        (path / "configs" / f"{name}.toml").write_text('base = "smollm2_cpu.toml"\n')
    for page in ("README.md", "docs/algorithm.md", "docs/tutorials/own_gym.md"):
        for code in (*blocks(ROOT / page, "python"), *blocks(ROOT / page, "toml")):
            first = code.split(maxsplit=2)
            if first[0] == "#" and first[1].rstrip(",").endswith((".py", ".toml")):
                (path / first[1].rstrip(",")).write_text(code)
    (path / "my_attacks.py").write_text("def attacks(gym, task):\n    return {'the word as it is': task.id}\n")
    rows = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), path / "train.parquet")
    answers = [{"id": 7, "gym": "math", "task": {"answer": "42"}, "response": "\\boxed{42}"}]
    for name in ("answers", "rows"):
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    pair = {"prompt": "What is rain?", "response 1": "Dunno.", "response 2": "Water from clouds.", "label": 1}
    (path / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    (path / "mine.toml").write_text(
        '[[gyms]]\nname = "mine"\ngym = "math"\nbudget = 64\nargs = { train_file = "train.parquet" }\n'
        '[ptx.source]\ngym = "mine"\n'
    )
    for name in RUNS:
        write_run(path / "runs" / name, [[siblings(0, response("3"), response("4", 0.0))]])
