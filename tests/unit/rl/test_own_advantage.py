"""Advantages from outside: found by name, tried before a run starts, and used in the place of a baseline."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from configs.schema import Config, LearnerConfig
from gyms.api import Status
from rl.advantage import group_advantages
from rl.batch import learning_batch
from rl.objective import check_objective
from rl.own_advantage import AdvantageInputs, advantage_of, check_advantage

DOCUMENT = Path(__file__).parents[3] / "docs" / "algorithm.md"
ADVANTAGES = """
import numpy as np

def as_kimi(x):
    kept = x.is_counted_PK
    num = np.maximum(kept.sum(axis=1, keepdims=True), 1)
    return x.rewards_PK - (x.rewards_PK * kept).sum(axis=1, keepdims=True) / num

def of_lengths(x):
    return x.rewards_PK - x.lengths_PK / 10 - x.tau + np.array([gym == "words" for gym in x.gyms])[:, None]

def raises(x): raise KeyError("no such thing")
def too_few(x): return x.rewards_PK[:, :1]
def infinite(x): return x.rewards_PK / 0.0 + np.inf
def reads_masked(x): return x.rewards_PK - x.rewards_PK.mean(axis=1, keepdims=True)
def nothing(x): return 0.0 * x.rewards_PK
def changes(x):
    x.rewards_PK[0, 0] += 1.0
    return x.rewards_PK
NONE = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch) -> str:
    """The name of an importable module of advantages; one is offered by a package too."""
    name = f"my_advantages_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(ADVANTAGES)
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[k2rl_advantages]\nkimi_again = {name}:as_kimi\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def config_of(*, rollout: dict | None = None, **learner) -> Config:
    gyms = ({"name": "sums", "gym": "arithmetic"},)
    return Config.model_validate(
        {"model": {"source": "tiny"}, "gyms": gyms, "learner": learner, "rollout": rollout or {}}
    )


def test_it_is_found_as_module_and_function_and_by_the_name_that_a_package_offers(mine):
    for name in (f"{mine}:as_kimi", "kimi_again"):
        assert LearnerConfig(advantage=name).advantage == name
        check_objective(config_of(advantage=name, max_microbatch_tokens=4096))
        assert advantage_of(name).__name__ == "as_kimi"


def test_groups_that_it_may_learn_from_are_not_replaced_by_others(mine):
    with pytest.raises(ValueError, match=rf"max_refills = 4 .* learner\.advantage = '{mine}:as_kimi' may learn"):
        config_of(advantage=f"{mine}:as_kimi", rollout={"prompts": {"max_refills": 4}})


def test_what_kimi_does_can_be_said_from_outside(mine, group, scored):
    broken = scored(status=Status.VERIFIER_ERROR)
    groups = [group(0, 1.0, 0.0, broken), group(1, 1.0, 1.0, 1.0), group(2, 0.5, 0.0, 0.25)]
    how = {"step": 0, "seed": 0, "num_minibatches": 1, "drop_zero_spread": True}
    assert learning_batch(groups, own=advantage_of(f"{mine}:as_kimi"), **how) == learning_batch(groups, **how)


def test_it_sees_lengths_gyms_and_tau_and_a_group_of_equal_rewards_may_teach(mine, group, scored):
    groups = [group(0, scored(1.0, token_ids=(5,) * 4), scored(1.0, token_ids=(5,) * 2), gym="words")]
    batch = learning_batch(
        groups, step=0, seed=0, num_minibatches=1, drop_zero_spread=True, tau=0.5,
        own=advantage_of(f"{mine}:of_lengths"),
    )  # fmt: skip
    assert batch.advantages == pytest.approx({0: 1.0 - 0.4 - 0.5 + 1.0, 1: 1.0 - 0.2 - 0.5 + 1.0})
    assert len(batch.minibatches[0].samples) == 2


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("raises", "failed on a trial of 4 groups: KeyError: 'no such thing'"),
        ("too_few", r"got an array of shape \(4, 1\), wanted \(4, 4\)"),
        ("infinite", "is not finite"),
        ("reads_masked", "reads samples that do not count"),
        ("nothing", "0 everywhere"),
        ("changes", "changes what it was given"),
    ],
)
def test_what_breaks_the_contract_is_refused_before_a_run_starts(mine, name, told):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=rf"learner.advantage = '{mine}:{name}'.*{told}"):
        check_objective(config_of(advantage=f"{mine}:{name}", max_microbatch_tokens=4096))


def test_names_that_lead_nowhere_are_refused(mine):
    with pytest.raises(ValidationError, match="is neither module:function nor offered: kimi_again"):
        LearnerConfig(advantage="kimi")
    with pytest.raises(ValueError, match="cannot be imported"):
        advantage_of(f"{mine}:missing")
    with pytest.raises(ValueError, match="is 3, wanted a function"):
        advantage_of(f"{mine}:NONE")
    for other in ({"baseline": "leave_one_out"}, {"scale_by_std": True}):
        with pytest.raises(ValidationError, match=r"takes the place of learner\.baseline and"):
            LearnerConfig(advantage=f"{mine}:as_kimi", **other)


def test_the_example_of_the_documentation_keeps_the_contract_and_does_what_it_says():
    (code,) = re.findall(r"```python\n# my_advantages.py\n(.*?)```", DOCUMENT.read_text(), re.S)
    room: dict = {}
    exec(code, room)
    check_advantage(room["over_the_batch"])
    rewards = np.array([[1.0, 0.0], [1.0, 1.0]])
    counted = np.ones((2, 2), bool)
    x = AdvantageInputs(rewards_PK=rewards, is_counted_PK=counted, lengths_PK=counted * 3, gyms=("a", "a"), tau=0.1)
    found = room["over_the_batch"](x)
    np.testing.assert_allclose(found, (rewards - 0.75) / np.sqrt(0.1875), rtol=1e-6)
    assert group_advantages(rewards, ~counted).has_spread_P.tolist() == [True, False]
