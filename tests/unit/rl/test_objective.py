"""Losses from outside: found by every name they may have, and tried before a run starts."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from configs.learner import LOSSES
from configs.schema import Config
from rl.loss import OBJECTIVES, LossInputs, Objective, reinforce
from rl.objective import check_loss, check_objective, objective

DOCUMENT = Path(__file__).parents[3] / "docs" / "algorithm.md"
LOSSES_OF_MY_OWN = """
import torch
from rl.loss import Objective, policy_loss, reinforce

NONE = 3
whole = Objective(reinforce, counts_samples=True)

def _of(x, loss):
    return policy_loss(loss, x.log_ratio_NT, torch.zeros_like(x.mask_NT))

def plain(x):
    return reinforce(x)

def raises(x):
    raise KeyError("no such thing")

def bare(x):
    return -(x.gain_mask_NT * x.logprobs_NT).sum()

def reads_padding(x):
    return _of(x, -(x.advantages_N[:, None] * x.logprobs_NT).sum() / x.num_tokens)

def reads_padding_without_a_slope(x):
    return _of(x, reinforce(x).loss + x.logprobs_NT.detach().sum() / x.num_tokens)

def own_mean(x):
    return _of(x, -(x.advantages_N[:, None] * x.mask_NT * x.logprobs_NT).sum() / x.mask_NT.sum())

def constant(x):
    return _of(x, 0.0 * (x.mask_NT * x.logprobs_NT).sum())

def infinite(x):
    return _of(x, (x.mask_NT * x.logprobs_NT / 0.0).sum())
"""


@pytest.fixture
def my_losses(tmp_path, monkeypatch) -> str:
    """The name of an importable module; also installed as a package that offers `plain` by entry point."""
    name = f"my_losses_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(LOSSES_OF_MY_OWN)
    offer(tmp_path, "my_package", f"plain_one = {name}:plain")
    monkeypatch.syspath_prepend(tmp_path)
    objective.cache_clear()
    return name


def offer(folder: Path, package: str, entry: str) -> None:
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[k2rl_losses]\n{entry}\n")


def config_of(loss: str) -> Config:
    return Config.model_validate(
        {"model": {"source": "tiny"}, "gyms": [{"name": "arithmetic"}], "learner": {"loss": loss}}
    )


def refusal(loss: str) -> str:
    with pytest.raises(ValueError) as caught:
        check_objective(config_of(loss))
    return str(caught.value)


def test_the_configs_names_are_those_of_the_table():
    assert tuple(OBJECTIVES) == LOSSES
    for name in OBJECTIVES:
        check_objective(config_of(name))


def test_a_loss_is_found_by_module_and_by_entry_point_and_counts_tokens_unless_it_says_otherwise(my_losses):
    for name in (f"{my_losses}:plain", "plain_one"):
        check_objective(config_of(name))
        assert objective(name).counts_samples is False
    assert objective(f"{my_losses}:whole") == Objective(reinforce, counts_samples=True)
    inputs = LossInputs(
        logprobs_NT=torch.tensor([[-1.0, -2.0]]), old_logprobs_NT=torch.tensor([[-1.0, -2.0]]),
        advantages_N=torch.tensor([2.0]), loss_mask_NT=torch.ones(1, 2), num_samples=1, num_tokens=2, tau=0.1,
        clip_low=-0.2, clip_high=0.2,
    )  # fmt: skip
    assert objective("plain_one").loss(inputs).loss.item() == 6.0


def test_an_unknown_name_is_refused_by_the_config_with_the_nearest_one(my_losses):
    with pytest.raises(ValidationError, match=r"learner\.loss = 'grop' is none of k2_seq.*did you mean 'grpo'\?"):
        config_of("grop")
    with pytest.raises(ValidationError, match="did you mean 'plain_one'"):
        config_of("plain_on")


def test_two_packages_that_offer_one_name_are_refused_with_both(my_losses, tmp_path):
    offer(tmp_path, "other_package", "plain_one = os:getcwd")
    found = refusal("plain_one")
    assert "my_package (" in found and "other_package (os:getcwd)" in found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere", "has no attribute 'nowhere'"),
        ("NONE", "is 3, wanted a function"),
        ("raises", "failed on a trial of 3 responses: KeyError"),
        ("bare", "wanted an rl.loss.PolicyLoss"),
        ("reads_padding", "it reads padding or observations"),
        ("reads_padding_without_a_slope", "it reads padding or observations"),
        ("own_mean", "do not add up to that of both: divide by x.num_samples or x.num_tokens"),
        ("constant", "its gradient is not finite, or 0 everywhere"),
        ("infinite", "its gradient is not finite, or 0 everywhere"),
    ],
)
def test_what_would_train_something_else_than_it_says_is_refused_before_the_start(my_losses, name, expected):
    assert expected in refusal(f"{my_losses}:{name}")


def test_an_author_can_try_a_loss_of_his_own_and_those_of_the_table_keep_the_same_contract():
    for name, one in OBJECTIVES.items():
        check_loss(one.loss, name)
    with pytest.raises(ValueError, match=r"^mine: it reads padding or observations"):
        check_loss(lambda x: reinforce(dataclasses.replace(x, loss_mask_NT=torch.ones_like(x.loss_mask_NT))), "mine")


def test_a_module_that_cannot_be_imported_is_refused_with_the_cause():
    assert "cannot be imported: ModuleNotFoundError" in refusal("no_such_module:loss")


def test_the_example_in_the_documentation_is_a_loss(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n# my_losses\.py\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "documented_losses.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    check_objective(config_of("documented_losses:lenient"))
