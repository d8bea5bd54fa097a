"""The built-in gyms keep the contract that plug-ins are held to, and score the same through the scorer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gyms.api import Status
from gyms.load import GymSpec, load_gym
from gyms.testing import check_gym
from reward.conformance import check_in_worker
from reward.scorer import Scorer

ARITHMETIC = "gyms.arithmetic.gym:Arithmetic"
GSM8K = "gyms.gsm8k.gym:Gsm8k"


@pytest.mark.parametrize("style", [{"style": "chat"}, {"style": "bare", "reverse_digits": True}])
@pytest.mark.parametrize("operation", ["add", "sub", "mul"])
@pytest.mark.parametrize("operands", [{"difficulty": 1}, {"difficulty": 4}])
def test_arithmetic_keeps_the_contract(style: dict[str, Any], operation: str, operands: dict[str, Any]) -> None:
    args = {**style, **operands, "operation": operation, "num_heldout": 3}
    check_gym(load_gym("sums", ARITHMETIC, args), max_tasks=20)


def test_gsm8k_keeps_the_contract_on_a_small_file(tmp_path: Path) -> None:
    for name, first in (("train", 0), ("test", 100)):
        rows = [
            {"question": f"Ann has {n} pens and loses one. How many?", "answer": f"{n}-1\n#### {n - 1}"}
            for n in range(first, first + 30)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    check_gym(
        load_gym(
            "gsm8k",
            GSM8K,
            {"train_file": str(tmp_path / "train.jsonl"), "heldout_file": str(tmp_path / "test.jsonl")},
        )
    )


def test_scores_in_a_worker_equal_scores_in_this_process() -> None:
    spec = GymSpec(name="sums", reference=ARITHMETIC, args={"max_operand": 30})
    gym = spec.build()
    tasks = [gym.tasks("train")[i] for i in range(0, 300, 10)]
    pairs = [(task, response) for task in tasks for response in (gym.gold(task) or "", "41 or 42", "none", "9" * 99)]

    async def scored(scorer: Scorer) -> list[Any]:
        return await asyncio.gather(
            *(scorer.score(str(i), "sums", task, response) for i, (task, response) in enumerate(pairs))
        )

    with Scorer([spec], num_workers=2) as scorer:
        found = asyncio.run(scored(scorer))
    assert found == [gym.score(task, response) for task, response in pairs]
    assert {score.status for score in found} == {Status.OK, Status.NO_ANSWER, Status.TOO_COMPLEX}


@pytest.mark.parametrize("reference", ["gyms.adder.gym:Adder", "gyms.tools.gym:Tools"])
def test_built_in_environments_are_the_same_in_a_worker(reference: str) -> None:
    spec = GymSpec(name="env", reference=reference)
    check_in_worker(spec, spec.build())
