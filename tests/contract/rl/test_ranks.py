"""A learner of two and of three ranks against one that is alone: the same bytes, and sums that differ by rounding.

The model has matrices of 32, 64 and 96 rows: two ranks cut them evenly, three do not. Of a mixture of four experts
three ranks hold two, two and none.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from configs.schema import TinyModelConfig
from rl.batch import LearningSample, Minibatch
from rl.learner import Learner, LearnerSettings
from rl.mismatch import Mismatch
from rl.ptx import PtxSample
from rl.tiny_model import build_tiny_model
from rollout.quant.scheme import QuantScheme
from rollout.routing import Routing
from tests.contract.rl.rank_processes import RankProcesses
from tests.rounding import rounding

ROUNDINGS = 2 * (64 + 32 + 64 + 64 + 64 + 96) + 64 + 32
"""In a row, in the tiny model: two layers (projections, scores, attention, output, gate, down), head, log_softmax."""
LOGPROB = rounding(ROUNDINGS, size=6.0, dtype=torch.float32)
"""Of a log-probability, none of which is below -6 here."""
LOSS = 2 * LOGPROB
"""Of means of them with weights up to 2; relative for norms."""
MAX_TOKENS = 64

PTX = tuple(PtxSample(prefix=(2, 3 + i), token_ids=(4 + i, 5, 0), loss_mask=(True, i % 2 == 0, True)) for i in range(3))


def settings_of(folder: Path, **changes) -> LearnerSettings:
    facts = {
        "model_folder": folder, "scheme": QuantScheme(), "fake_quantize": True, "compute_dtype": "float32",
        "loss": "k2_seq", "aggregation": None, "tau": 0.5, "clip_low": -0.6931, "clip_high": 0.6931,
        "mismatch": Mismatch(correction="token_band", low=0.5, high=2.0), "optimizer": "adamw", "momentum": 0.95,
        "betas": (0.9, 0.95), "weight_decay": 0.01, "max_grad_norm": 1.0, "max_microbatch_tokens": MAX_TOKENS,
        "gradient_checkpointing": False, "ptx_coef": 0.5, "qk_clip": None, "reset_optimizer": False,
        "ema_decay": None, "reference_coef": 0.0, "reference_estimator": "k3",
    }  # fmt: skip
    return LearnerSettings(**(facts | changes))


def minibatch(seed: int, num_groups: int, *, longest: int = 9, num_siblings: int = 4) -> Minibatch:
    """Groups of siblings of unlike lengths; two samples more than these were dropped."""
    rng = random.Random(seed)
    samples = []
    for group in range(num_groups):
        prompt = tuple(rng.randrange(2, 18) for _ in range(rng.randrange(1, 6)))
        for k in range(num_siblings):
            length = rng.randrange(1, longest)
            samples.append(
                LearningSample(
                    number=group * num_siblings + k, group=group, prompt_ids=prompt,
                    token_ids=tuple(rng.randrange(2, 18) for _ in range(length)),
                    loss_mask=tuple(rng.random() < 0.8 for _ in range(length)),
                    engine_logprobs=tuple(-2.5 - rng.random() for _ in range(length)),
                    temperatures=(0.8,) * length, advantage=rng.uniform(-1, 1),
                )
            )  # fmt: skip
    num_tokens = sum(sum(sample.loss_mask) for sample in samples)
    return Minibatch(index=0, samples=tuple(samples), num_samples=len(samples) + 2, num_tokens=num_tokens + 7)


def with_experts(batch: Minibatch) -> Minibatch:
    """Two of four experts for each token, in two layers."""
    rng = np.random.default_rng(3)
    shapes = [(len(one.prompt_ids) + len(one.token_ids) - 1, 2, 4) for one in batch.samples]
    told = [Routing.of(rng.random(shape).argsort(-1)[..., :2]) for shape in shapes]
    samples = (dataclasses.replace(one, routing=routing) for one, routing in zip(batch.samples, told, strict=True))
    return dataclasses.replace(batch, samples=tuple(samples))


def rows_of(learner: Learner) -> dict[str, dict[str, torch.Tensor]]:
    """Copies of the masters and moments that a process holds: tensors that travel share the memory they lie in."""
    found = {"master": {name: master.clone() for name, master in learner.masters.parameters.items()}}
    for name, moment in learner.optimizer.moments().items():
        for kind, value in moment.items():
            found.setdefault(kind, {})[name] = value.clone()
    return found


def whole(ranks: RankProcesses) -> dict[str, dict[str, torch.Tensor]]:
    """Masters and moments of all ranks, put together."""
    parts = ranks.call(rows_of)
    return {
        kind: {
            name: torch.cat([part[kind][name] for part in parts]) if value.ndim else value
            for name, value in parts[0][kind].items()
        }
        for kind in parts[0]
    }


def are_equal(left: dict[str, dict[str, torch.Tensor]], right: dict[str, dict[str, torch.Tensor]]) -> bool:
    assert left.keys() == right.keys() and all(left[kind].keys() == right[kind].keys() for kind in left)
    return all(torch.equal(value, right[kind][name]) for kind in left for name, value in left[kind].items())


def numbers_of(learner: Learner) -> tuple[int, ...]:
    """How many rows of its parameters a process holds."""
    return tuple(len(master) for master in learner.masters.parameters.values())


def bytes_of(learner: Learner) -> list[int]:
    """Memory of masters and of the image that a process holds."""
    held = (*learner.masters.parameters.values(), *learner.masters.images().values())
    return [tensor.untyped_storage().nbytes() for tensor in held]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    shape = TinyModelConfig(hidden_size=64, num_layers=2, num_heads=2, intermediate_size=96)
    build_tiny_model(folder, shape, context_length=128, seed=0)
    return folder


@pytest.fixture(scope="module", params=[2, 3], ids=["2 ranks", "3 ranks"])
def ranks(request, folder) -> Iterator[RankProcesses]:
    with RankProcesses(settings_of(folder), request.param) as processes:
        yield processes


@pytest.fixture
def one(folder) -> Learner:
    return Learner(settings_of(folder))


def begin_alike(one: Learner, ranks: RankProcesses, folder: Path) -> None:
    """Give the ranks what the lone learner holds, through a checkpoint of it."""
    folder.mkdir(exist_ok=True)
    one.save(folder)
    ranks.call("load", folder)


def test_where_masters_are_equal_ranks_publish_the_bytes_of_one_and_compute_with_its_weights(one, ranks, tmp_path):
    begin_alike(one, ranks, tmp_path / "first")
    for step in range(2):
        found, expected = ranks.call("publish", step), one.publish(step)
        assert found[0].manifest == expected.manifest and (found[0].buffer == expected.buffer).all()
        assert not any(other.manifest.entries for other in found[1:])
        weights = one.forward_weights()
        for rank in ranks.call("forward_weights"):
            assert rank.keys() == weights.keys() and all(torch.equal(rank[name], weights[name]) for name in weights)
        one.update(one.add_old_logprobs([minibatch(step, 5)])[0], PTX, lr=1e-2)
        begin_alike(one, ranks, tmp_path / str(step))


def test_ranks_give_their_memory_away_and_have_it_again(one, ranks, tmp_path):
    begin_alike(one, ranks, tmp_path)
    batch = ranks.call("add_old_logprobs", [minibatch(10, 4)])[0][0]
    ranks.call("update", batch, PTX, lr=1e-2)
    before, published = whole(ranks), ranks.call("publish", 1)[0]
    ranks.call("sequence_logprobs", [(2, 3, 4)])  # leaves gathered weights behind
    ranks.call("offload")
    assert all(size == 0 for rank in ranks.call(bytes_of) for size in rank)
    ranks.call("onload")
    assert are_equal(whole(ranks), before) and ranks.call("publish", 1)[0].manifest == published.manifest
    assert ranks.call("update", batch, PTX, lr=1e-2)[0].grad_norm > 0


def test_ranks_export_the_folder_of_one(one, ranks, tmp_path):
    begin_alike(one, ranks, tmp_path / "state")
    ranks.call("export", tmp_path / "ranks")
    one.export(tmp_path / "one")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "ranks").iterdir())
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "ranks" / name).read_bytes() for name in files)


@pytest.mark.parametrize(
    ("num_groups", "longest", "ptx"),
    [
        pytest.param(5, 9, PTX, id="several groups"),
        pytest.param(5, 20, (), id="unequal numbers of micro-batches"),
        pytest.param(1, 9, PTX[:1], id="a rank without samples"),
        pytest.param(0, 9, PTX, id="curated data alone"),
    ],
)
def test_updates_of_ranks_are_those_of_one_up_to_rounding(one, ranks, tmp_path, num_groups, longest, ptx):
    begin_alike(one, ranks, tmp_path)
    batches = [minibatch(seed, num_groups, longest=longest) for seed in range(3)]
    found_old, old = ranks.call("add_old_logprobs", batches)[0], one.add_old_logprobs(batches)
    for found, batch in zip(found_old, old, strict=True):
        for ours, theirs in zip(found.samples, batch.samples, strict=True):
            assert ours.old_logprobs == pytest.approx(theirs.old_logprobs, abs=LOGPROB)
    lr, start, is_clear, momenta = 1e-3, rows_of(one)["master"], {}, {}
    for found_batch, batch in zip(found_old, old, strict=True):
        found, expected = ranks.call("update", found_batch, ptx, lr=lr), one.update(batch, ptx, lr=lr)
        assert found[0].policy_loss == pytest.approx(expected.policy_loss, abs=LOSS)
        assert found[0].ptx_loss == pytest.approx(expected.ptx_loss, abs=LOGPROB)
        assert found[0].grad_norm == pytest.approx(expected.grad_norm, rel=LOSS)
        assert found[0].update_size == pytest.approx(expected.update_size, rel=0.1)  # of other samples of the masters
        for key in ("log_ratio_mean", "log_ratio_std", "weight_sum", "weight_square_sum"):
            assert getattr(found[0], key) == pytest.approx(getattr(expected, key), rel=LOSS, abs=20 * LOSS), key
        assert {**found[0].old_logprobs} == {sample.number: sample.old_logprobs for sample in found_batch.samples}
        assert (found[0].num_tokens, found[0].num_samples) == (expected.num_tokens, expected.num_samples)
        for rank in found[1:]:
            assert all(getattr(rank, key) == getattr(found[0], key) for key in ("policy_loss", "ptx_loss", "grad_norm"))
        ours, theirs = whole(ranks), rows_of(one)
        for name, moment in theirs["exp_avg"].items():  # 0.9 m + 0.1 g: what each gradient was
            gradient = (moment - 0.9 * momenta.get(name, 0.0)) / 0.1
            momenta[name] = moment
            clear = gradient.abs() > 0.05 * gradient.square().mean().sqrt()
            is_clear[name] = is_clear.get(name, True) & clear
            # The norm of an error is LOSS of the norm of the gradient; moments add three of them up.
            assert (ours["exp_avg"][name] - moment).norm() <= 3 * LOSS * 0.1, name
    for name, master in theirs["master"].items():
        moved, expected = ours["master"][name] - start[name], master - start[name]
        # A clear gradient is off by at most LOSS / 0.05 of itself, in both moments, in each of 3 updates of size lr.
        tolerance = 3 * lr * 4 * LOSS / 0.05
        torch.testing.assert_close(moved[is_clear[name]], expected[is_clear[name]], rtol=0, atol=tolerance)
    assert sum(int(clear.sum()) for clear in is_clear.values()) > 10_000


def test_gradients_are_summed_over_ranks_and_not_averaged(one, ranks, tmp_path):
    """Adam hides a factor; the norm before clipping does not."""
    begin_alike(one, ranks, tmp_path)
    batch = minibatch(3, 6)
    found, expected = ranks.call("update", batch, (), lr=0.0)[0], one.update(batch, (), lr=0.0)
    assert found.grad_norm == pytest.approx(expected.grad_norm, rel=LOSS) and expected.grad_norm > 0.01


def test_before_the_first_update_the_log_ratio_of_ranks_is_zero_to_the_last_bit(one, ranks, tmp_path):
    begin_alike(one, ranks, tmp_path)
    batch = ranks.call("add_old_logprobs", [minibatch(4, 5)])[0][0]
    found = ranks.call("update", batch, PTX, lr=1e-2)[0]
    assert (found.log_ratio_mean, found.log_ratio_std) == (0.0, 0.0)
    assert ranks.call("update", batch, PTX, lr=1e-2)[0].log_ratio_std > 0


def test_a_gradient_that_is_not_finite_stops_all_ranks_before_the_weights_move(one, ranks, tmp_path):
    begin_alike(one, ranks, tmp_path)
    batch = minibatch(5, 4)
    broken = dataclasses.replace(batch.samples[0], advantage=float("nan"))
    with pytest.raises(RuntimeError, match="the gradient is not finite"):
        ranks.call("update", dataclasses.replace(batch, samples=(broken, *batch.samples[1:])), (), lr=1e-3)
    assert are_equal({"master": whole(ranks)["master"]}, {"master": rows_of(one)["master"]})


def test_a_warm_up_of_ranks_is_that_of_one(one, ranks, tmp_path):
    begin_alike(one, ranks, tmp_path)
    found = ranks.call("warm_up", [PTX, PTX[:1]], lrs=[1e-3, 1e-3])[0]
    expected = one.warm_up([PTX, PTX[:1]], lrs=[1e-3, 1e-3])
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.ptx_loss == pytest.approx(theirs.ptx_loss, abs=LOSS)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=LOSS)


def test_a_checkpoint_of_ranks_goes_on_as_one_process_and_back_bit_for_bit(one, ranks, tmp_path):
    begin_alike(one, ranks, tmp_path / "start")
    ranks.call("update", minibatch(6, 5), PTX, lr=1e-2)
    before, published = whole(ranks), ranks.call("publish", 1)[0]
    ranks.call("save", tmp_path / "saved")
    one.load(tmp_path / "saved")
    assert are_equal(rows_of(one), before) and one.publish(1).manifest == published.manifest
    found, expected = ranks.call("update", minibatch(7, 5), PTX, lr=1e-2)[0], one.update(minibatch(7, 5), PTX, lr=1e-2)
    assert found.grad_norm == pytest.approx(expected.grad_norm, rel=LOSS)
    begin_alike(one, ranks, tmp_path / "back")
    assert are_equal(whole(ranks), rows_of(one))
    ranks.call("load", tmp_path / "saved")
    assert are_equal(whole(ranks), before)


def test_a_checkpoint_of_two_ranks_is_resumed_by_three_and_by_one_to_the_same_bits(folder, tmp_path):
    settings = settings_of(folder, compute_dtype="bfloat16", gradient_checkpointing=True)
    with RankProcesses(settings, 2) as two:
        batch = two.call("add_old_logprobs", [minibatch(8, 5, longest=20)])[0][0]
        assert two.call("update", batch, PTX, lr=1e-2)[0].log_ratio_std == 0.0
        two.call("save", tmp_path)
        before, published = whole(two), two.call("publish", 1)[0]
    one = Learner(settings)
    one.load(tmp_path)
    assert are_equal(rows_of(one), before) and one.publish(1).manifest == published.manifest
    with RankProcesses(settings, 3) as three:
        three.call("load", tmp_path)
        assert are_equal(whole(three), before)
        assert three.call("publish", 1)[0].manifest == published.manifest
        three.call("update", batch, PTX, lr=1e-2)
        three.call("save", tmp_path / "three")
        one.load(tmp_path / "three")
        assert are_equal(whole(three), rows_of(one))


def test_ranks_refuse_the_state_of_another_model(ranks, tmp_path):
    torch.save({"masters": {"a": torch.zeros(1)}, "optimizer": {}}, tmp_path / "learner.pt")
    with pytest.raises(ValueError, match=r"learner\.pt belongs to another model"):
        ranks.call("load", tmp_path)


@pytest.mark.parametrize("replay_routing", [False, True], ids=["chosen", "replayed"])
def test_experts_are_dealt_whole_and_a_rank_without_any_keeps_up(tmp_path, replay_routing):
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    config = Qwen3MoeConfig(
        vocab_size=32, hidden_size=64, intermediate_size=96, moe_intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, num_experts=4, num_experts_per_tok=2, max_position_embeddings=64,
        tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen3MoeForCausalLM(config).save_pretrained(tmp_path / "model")
    settings = settings_of(tmp_path / "model", replay_routing=replay_routing)
    one, batch = Learner(settings), with_experts(minibatch(9, 5))
    with RankProcesses(settings, 3) as three:
        experts = [i for i, name in enumerate(one.masters.parameters) if "experts" in name]
        held = three.call(numbers_of)
        assert experts and all([rank[i] for rank in held] == [2, 2, 0] for i in experts)
        assert three.call("publish", 0)[0].manifest == one.publish(0).manifest
        found, expected = three.call("update", batch, PTX, lr=1e-3)[0], one.update(batch, PTX, lr=1e-3)
        assert found.policy_loss == pytest.approx(expected.policy_loss, abs=LOSS)
        assert found.grad_norm == pytest.approx(expected.grad_norm, rel=LOSS)
        assert (found.num_flipped, found.num_replayed) == (expected.num_flipped, expected.num_replayed)
        assert (expected.num_flipped > 0) == replay_routing
        three.call("save", tmp_path / "state")
        three.call("export", tmp_path / "int4")
        one.load(tmp_path / "state")
        assert are_equal(rows_of(one), whole(three))
        assert three.call("publish", 1)[0].manifest == one.publish(1).manifest
        assert "model.layers.0.mlp.experts.3.up_proj.weight_packed" in load_file(tmp_path / "int4/model.safetensors")
