"""GSM8K, IFEval and Auto-J: rows are read, gold answers verify themselves, a baseline agrees as counted."""

from __future__ import annotations

import json

import pytest

from gyms.api import Services, Status, Task
from gyms.constraints.gym import Constraints, ConstraintsSettings
from gyms.gsm8k.gym import Gsm8k
from gyms.load import load_gym
from gyms.mixture import check_disjoint
from gyms.testing import check_gym
from reward.calibrate import main
from tests.oracles.conftest import Oracles

IFEVAL = "ifeval/input_data.jsonl"


def gsm8k(oracles: Oracles, **args: str) -> Gsm8k:
    files = {"train_file": "gsm8k/train.jsonl", "heldout_file": "gsm8k/test.jsonl"}
    found = load_gym(
        "gsm", "gyms.gsm8k.gym:Gsm8k", {key: str(oracles.path(name)) for key, name in files.items()} | args
    )
    assert isinstance(found, Gsm8k)
    return found


def constraints(**settings) -> Constraints:
    return Constraints(ConstraintsSettings(**settings), Services())


def test_all_answers_of_gsm8k_verify_themselves_and_the_splits_share_nothing(oracles: Oracles) -> None:
    gym = gsm8k(oracles)
    train, held = gym.tasks("train"), gym.tasks("heldout")
    assert (len(train), len(held)) == oracles.expected(own=(10, 6), published=(7473, 1319))
    assert [task.id for task in held if gym.score(task, gym.gold(task)).value != 1.0] == []
    check_disjoint(gym)


@pytest.mark.parametrize("suffix", [{}, {"suffix": ""}], ids=["with the suffix", "without"])
def test_gsm8k_keeps_the_contract(oracles: Oracles, suffix: dict[str, str]) -> None:
    check_gym(gsm8k(oracles, **suffix))


def test_all_rows_of_ifeval_are_read_but_for_contradictions(oracles: Oracles) -> None:
    gym = constraints(path=oracles.path(IFEVAL))
    rows = oracles.rows(IFEVAL)
    assert len(gym.tasks("train")) + len(gym.tasks("heldout")) + gym.skipped.num_rows == len(rows)
    assert len(rows) == oracles.expected(own=8, published=541)
    refused = {}
    for row in rows:
        task = Task(id="t", prompt=({"role": "user", "content": row["prompt"]},), data=row)
        score = constraints().score(task, "An answer.")
        if score.status is Status.BAD_TASK:
            refused[row["key"]] = score.detail
    # Each asks to repeat a request that holds what another instruction forbids: commas or words.
    assert set(refused) == oracles.expected(own={6}, published={1627, 3369, 3371, 3718, 374})
    assert all("combination:repeat_prompt needs" in detail for detail in refused.values())


def test_no_procedural_prompt_occurs_in_ifeval(oracles: Oracles) -> None:
    published = {row["prompt"].strip().lower() for row in oracles.rows(IFEVAL)}
    procedural = {
        t.data["prompt"].lower() for d in (1, 4) for t in constraints(difficulty=d, num_train=100).tasks("train")
    }
    assert published and procedural and not procedural & published


def test_the_longer_answer_agrees_with_people_as_often_as_counted(
    oracles: Oracles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--pairs", str(oracles.path("autoj/autoj_pairwise.json")), "--judge", "longer", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    agreed, num_pairs = oracles.expected(own=(3, 5), published=(737, 1392))
    assert found["num_pairs"] == num_pairs and found["agreement"] == pytest.approx(agreed / num_pairs)
