"""Sizes from a model's config alone, against what its makers published and what was measured here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rl.lora import LoraSettings
from rl.offload import tensors_in
from rl.plan import GPUS, Kept, main, model_size, plan, step_seconds
from tests.unit.rl.plain_learner import make, minibatch

SMOLLM2 = {
    "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip
QWEN3_30B = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32,
    "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144, "moe_intermediate_size": 768,
    "num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936, "tie_word_embeddings": False,
}  # fmt: skip
QWEN3_235B = QWEN3_30B | {
    "hidden_size": 4096, "num_hidden_layers": 94, "num_attention_heads": 64, "intermediate_size": 12288,
    "moe_intermediate_size": 1536,
}  # fmt: skip
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
    "num_experts_per_tok": 8, "first_k_dense_replace": 3, "q_lora_rank": 1536, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 129280,
}  # fmt: skip
KIMI_K2 = DEEPSEEK_V3 | {
    "num_attention_heads": 64, "n_routed_experts": 384, "first_k_dense_replace": 1, "vocab_size": 163840,
}  # fmt: skip
GLM_5 = {
    "model_type": "glm_moe_dsa", "hidden_size": 6144, "num_hidden_layers": 78, "num_attention_heads": 64,
    "intermediate_size": 12288, "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
    "num_experts_per_tok": 8, "first_k_dense_replace": 3, "q_lora_rank": 2048, "kv_lora_rank": 512,
    "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256, "vocab_size": 154880, "index_n_heads": 32,
    "index_head_dim": 128,
}  # fmt: skip
WORK = {"group_size": 32, "kv_cache_bytes": 20e9, "num_samples": 1024, "num_tokens": 4096.0, "max_num_seqs": 256}


@pytest.mark.parametrize(
    ("facts", "total", "active", "tolerance"),
    [
        (SMOLLM2, 134.5e6, None, 0.001),  # counted in its checkpoint
        (QWEN3_30B, 30.5e9, 3.3e9, 0.01),  # its model card
        (QWEN3_235B, 235e9, 22e9, 0.01),
        (DEEPSEEK_V3, 671e9, 37e9, 0.01),  # arXiv 2412.19437
        (KIMI_K2, 1.04e12, 32e9, 0.02),  # arXiv 2507.20534, given to three digits
        (GLM_5, 744e9, 40e9, 0.001),  # its README
    ],
    ids=["smollm2", "qwen3-30b", "qwen3-235b", "deepseek-v3", "kimi-k2", "glm-5"],
)
def test_parameters_counted_from_a_config_are_those_published(facts, total, active, tolerance) -> None:
    size = model_size(facts)
    assert size.total == pytest.approx(total, rel=tolerance)
    if active is not None:  # makers count the input embedding in or out, which is a tenth of the smallest here
        assert size.active == pytest.approx(active, rel=0.1)


def test_packed_bytes_are_those_measured_for_smollm2_and_published_for_kimi_k2_thinking() -> None:
    assert model_size(SMOLLM2).packed_bytes(32) == pytest.approx(116.3e6, rel=0.005)  # the artefact
    assert model_size(KIMI_K2).packed_bytes(32, only_experts=True) == pytest.approx(594e9, rel=0.01)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3_moe", "deepseek_v3", "glm_moe_dsa"])
def test_a_count_is_that_of_the_model_that_transformers_builds(kind: str) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from rollout.quant.scheme import QuantScheme
    from rollout.quant.views import quantized_views

    small = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
             "intermediate_size": 96, "vocab_size": 128, "tie_word_embeddings": False, "head_dim": 32}  # fmt: skip
    if kind == "qwen3_moe":
        small |= {"moe_intermediate_size": 32, "num_experts": 4, "num_experts_per_tok": 2}
    if kind in ("deepseek_v3", "glm_moe_dsa"):
        del small["head_dim"]
        small |= {key: DEEPSEEK_V3[key] for key in ("n_shared_experts",)} | {
            "moe_intermediate_size": 32, "n_routed_experts": 8, "num_experts_per_tok": 2, "first_k_dense_replace": 1,
            "n_group": 1, "topk_group": 1, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 32,
            "qk_rope_head_dim": 32, "v_head_dim": 32, "num_key_value_heads": 4,
        }  # fmt: skip
    if kind == "glm_moe_dsa":
        small |= {"index_n_heads": 2, "index_head_dim": 64}
    config = AutoConfig.for_model(kind, **small)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    size = model_size(config.to_dict())
    assert size.total == sum(p.numel() for p in model.parameters())
    if kind != "glm_moe_dsa":  # whose experts no table of ours knows
        table = quantized_views(model, QuantScheme())
        assert size.quantised == sum(entry.parameter.numel() for entry in table)
        assert size.edges == sum(sum(matrix.shape) for entry in table for _, matrix in entry.views)


def test_a_sharded_learner_holds_its_image_in_fp32_and_a_lone_one_in_bf16() -> None:
    size, gpu = model_size(QWEN3_30B), GPUS["h100"]
    tables = 2 * 151936 * 2048  # gathered as long as a pass takes, and two layers beside them: docs/ranks.md
    gathered = 2 * (tables + 2 * (size.total - tables) / 48)
    for num_gpus, num_bytes, more in ((1, 4 + 4 + 8 + 2, 0.0), (8, 4 + 4 + 8 + 4, gathered)):
        held = size.total * num_bytes + size.quantised * 4.5 / 8  # docs/colocation.md
        found = plan(size, gpu, num_gpus=num_gpus, **WORK)
        assert found["learning_bytes"] == pytest.approx(held / num_gpus + more)
        assert found["host_bytes"] == pytest.approx((held - 4 * size.total) / num_gpus), "gradients do not leave"


FROZEN = ("model.embed_tokens.weight", "re:.*layers\\.0\\.mlp.*")


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, {}),
        ({"compute_dtype": "float32"}, {"computing_bytes": 4}),
        ({"fake_quantize": False}, {"is_on_grid": False}),
        ({"optimizer": "muon"}, {"has_muon": True}),
        ({"reference_coef": 0.1}, {"has_reference": True}),
        ({"ema_decay": 0.5}, {"has_average": True}),
        ({"lora": LoraSettings(rank=4, alpha=8.0)}, {"lora_rank": 4}),
        ({"lora": LoraSettings(rank=4, alpha=8.0), "ema_decay": 0.5, "reference_coef": 0.1},
         {"lora_rank": 4, "has_average": True, "has_reference": True}),
        ({"frozen": FROZEN}, {"num_frozen": 32 * 64 + 3 * 64 * 96, "num_frozen_int4": 3 * 64 * 96}),
        ({"frozen": FROZEN, "optimizer": "muon"},
         {"num_frozen": 32 * 64 + 3 * 64 * 96, "num_frozen_int4": 3 * 64 * 96, "has_muon": True}),
    ],
    ids=lambda given: "-".join(given) if isinstance(given, dict) else None,
)  # fmt: skip
def test_a_learner_is_counted_as_the_tensors_that_one_holds(settings, tiny_folder: Path, changes, kept) -> None:
    learner = make(settings, **({"compute_dtype": "bfloat16", "ptx_coef": 0.0} | changes))
    learner.update(minibatch(), (), lr=1e-3)
    held = [learner.masters.images(), learner.masters.tensors(), learner.optimizer.state_dict(), learner.kept.tensors()]
    numbers = [tensor for tensor in tensors_in(held) if tensor.ndim]  # without counts of steps
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in numbers}
    gradients = 4 * sum(master.numel() for master in learner.masters.parameters.values())
    size = model_size(json.loads((tiny_folder / "config.json").read_text()))
    found = Kept(**kept).learner_bytes(size, group_size=32, num_ranks=1)
    assert found == (sum(storages.values()), gradients)


def test_settings_that_several_ranks_refuse_leave_the_learner_on_one_gpu(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = model_size(json.loads((tiny_folder / "config.json").read_text()))
    config = tmp_path / "run.toml"
    config.write_text(f'model.path = "{tiny_folder}"\n[[gyms]]\nname = "arithmetic"\nbudget = 4\n')
    given = {
        "learner.lora.rank=4": Kept(lora_rank=4),
        'learner.frozen=["re:.*layers.0.mlp.*"]': Kept(num_frozen=3 * 64 * 96, num_frozen_int4=3 * 64 * 96),
        "learner.ema_decay=0.5": Kept(has_average=True),
        "learner.reference_kl.coef=0.1": Kept(has_reference=True),
        'learner.optimizer="muon"': Kept(has_muon=True),
        "learner.qk_clip=100.0": Kept(),
    }
    for override, kept in given.items():
        each = sum(kept.learner_bytes(size, group_size=32, num_ranks=1)) / size.total
        for more in ([], ["cluster.separate=true", "engine.num_engines=3"], ["--learner-gpus", "4"]):
            assert main([str(config), override, *more, "--gpus", "8"]) == 0
            told = " ".join(capsys.readouterr().out.split())
            assert f"is {each:.1f} bytes a parameter, by the config's settings, on its only rank" in told, override
    each = (16 + 4) + 0.5625 * size.quantised / size.total
    for overrides, num in (([], 8), (["engine.num_engines=8"], 1), (["engine.num_engines=4"], 2)):
        assert main([str(config), *overrides, "--gpus", "8"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert f"(learner.num_ranks = {num})" in told and (f"is {each:.1f} bytes" in told) == (num > 1)
    assert main([str(config), 'quant.ignore=["lm_head", "re:.*embed.*", "re:.*norm.*", "re:.*mlp.*"]']) == 0
    told = capsys.readouterr().out
    assert f"{(size.quantised - 2 * 3 * 64 * 96) / size.total:.1%} INT4" in told


def test_half_the_work_takes_half_the_time_and_twice_the_gpus_half_the_memory() -> None:
    size, gpu = model_size(QWEN3_30B), GPUS["h100"]
    one, two = plan(size, gpu, num_gpus=8, **WORK), plan(size, gpu, num_gpus=16, **WORK)
    less = plan(size, gpu, num_gpus=8, **(WORK | {"num_samples": 512}))
    assert less["update_seconds"] == one["update_seconds"] / 2
    assert two["host_bytes"] == one["host_bytes"] / 2
    assert plan(size, replace(gpu, host_bytes_per_second=1e9), num_gpus=8, **WORK)["swap_seconds"] == pytest.approx(
        one["packed_bytes"] / 1e9
    )


def test_glm_5_learns_and_steps_on_28_nodes_about_as_published() -> None:
    """prime-rl 0.6: 256 rollouts of at most 131,072 tokens, learned in 3.7 minutes (median), a step in less than 5.

    How long the rollouts were, and how many of their tokens were sampled, was not published: half of the longest, and
    8,192, are assumed. Its example gives the learner 16 nodes.
    """
    size, gpu = model_size(GLM_5), GPUS["h200"]
    longest, work = 131072.0, WORK | {"kv_cache_bytes": 100e9, "num_samples": 256, "num_sampled": 8192.0}
    half, whole = (plan(size, gpu, num_gpus=128, **(work | {"num_tokens": longest / n})) for n in (2, 1))
    assert half["update_seconds"] < 3.7 * 60 < whole["update_seconds"]
    found = plan(size, gpu, num_gpus=28 * 8, **(work | {"num_tokens": longest / 2}))
    assert step_seconds(found) < 5 * 60
    assert max(found["learning_bytes"], found["generating_bytes"]) < gpu.memory_bytes


def test_tokens_that_are_only_read_cost_operations_and_no_decoding() -> None:
    size, gpu = model_size(QWEN3_30B), GPUS["h100"]
    all_sampled = plan(size, gpu, num_gpus=8, **WORK)
    half = plan(size, gpu, num_gpus=8, **WORK, num_sampled=WORK["num_tokens"] / 2)
    read = 2 * size.active * WORK["num_samples"] * WORK["num_tokens"] / 2 / (8 * gpu.flops * 0.35)
    assert half["rollout_seconds"] == pytest.approx(all_sampled["rollout_seconds"] / 2 + read)
    assert step_seconds(all_sampled) - step_seconds(half) == pytest.approx(all_sampled["rollout_seconds"] / 2 - read)


def test_apart_each_side_has_its_own_gpus_and_a_step_ahead_takes_the_longer_of_both_and_the_swap() -> None:
    size, gpu = model_size(QWEN3_30B), GPUS["h100"]
    learner, engines = plan(size, gpu, num_gpus=8, **WORK), plan(size, gpu, num_gpus=24, **WORK)
    apart = plan(size, gpu, num_gpus=32, num_learner_gpus=8, **WORK)
    ahead = plan(size, gpu, num_gpus=32, num_learner_gpus=8, is_ahead=True, **WORK)
    assert apart["update_seconds"] == learner["update_seconds"]
    assert apart["rollout_seconds"] == engines["rollout_seconds"]
    assert apart["learning_bytes"] == learner["learning_bytes"]
    assert apart["generating_bytes"] == engines["generating_bytes"]
    assert apart["host_bytes"] == apart["offload_seconds"] == 0
    both = (apart["rollout_seconds"], apart["update_seconds"])
    assert step_seconds(apart) == pytest.approx(sum(both) + apart["swap_seconds"])
    assert step_seconds(ahead) == pytest.approx(max(both) + apart["swap_seconds"])


def test_the_command_divides_gpus_as_the_config_does_and_says_who_has_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    config = tmp_path / "run.toml"
    config.write_text(
        f'model.path = "{tmp_path}"\ncluster.separate = true\nengine.num_engines = 3\n'
        '[[gyms]]\nname = "arithmetic"\nbudget = 4\n'
    )
    told = {}
    for more in ([], ["rollout.steps_ahead=1"], ["--learner-gpus", "5"]):
        assert main([str(config), *more, "--gpus", "8"]) == 0
        told[" ".join(more)] = " ".join(capsys.readouterr().out.split())
    assert "2 GPUs learn and 6 generate, in turns;" in told[""]
    assert "2 GPUs learn and 6 generate, one step ahead" in told["rollout.steps_ahead=1"]
    assert "5 GPUs learn and 3 generate, one step ahead" in told["--learner-gpus 5"]
    assert main([str(config), "learner.num_ranks=7", "engine.num_engines=1", "--gpus", "2"]) == 0
    assert "1 GPUs learn and 1 generate" in " ".join(capsys.readouterr().out.split())
    of_four = [str(config), "engine.num_engines=1", "engine.tensor_parallel=4", "--gpus"]
    assert main([*of_four, "5"]) == 1, "a rank has a bundle of its own, of four as the engine's"
    capsys.readouterr()
    assert main([*of_four, "8"]) == 0
    assert "4 GPUs learn and 4 generate" in " ".join(capsys.readouterr().out.split())
    assert main([str(config), "--gpus", "1"]) == 2
    assert "1 of 1 GPUs learn, for --learner-gpus or cluster.separate; want 1 or more" in capsys.readouterr().err


def test_an_engine_has_a_power_of_two_of_gpus() -> None:
    found = [plan(model_size(GLM_5), GPUS["h200"], num_gpus=64, **(WORK | {"kv_cache_bytes": n})) for n in (0.0, 1e11)]
    assert [one["ranks_of_an_engine"] for one in found] == [4, 8]  # 464 and 564 GB, 127 of which a GPU takes


def test_an_engine_has_as_many_gpus_as_the_config_gives_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On two GPUs it holds half of weights and cache on each, reads both in half the time, and half as many engines."""
    size, gpu = model_size(QWEN3_30B), GPUS["h100"]
    one, two = (plan(size, gpu, num_gpus=8, **WORK, num_engine_gpus=n) for n in (1, 2))
    assert (one["ranks_of_an_engine"], two["ranks_of_an_engine"]) == (1, 2)
    assert two["generating_bytes"] == one["generating_bytes"] / 2
    assert two["swap_seconds"] == one["swap_seconds"] / 2
    (tmp_path / "config.json").write_text(json.dumps(KIMI_K2))
    config = tmp_path / "run.toml"
    config.write_text(f'model.path = "{tmp_path}"\n[[gyms]]\nname = "arithmetic"\nbudget = 4\n')
    wanted = [str(config), "cluster.separate=true", "learner.num_ranks=448", "engine.num_engines=8", "--gpus", "512"]
    assert main([*wanted, "--gpu", "h200"]) == 1  # 544 GB on one GPU
    assert "an engine on 1 GPUs" in capsys.readouterr().out
    assert main([str(config), "engine.tensor_parallel=8", *wanted[1:], "--gpu", "h200"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "an engine on 8 GPUs" in told and "448 GPUs learn and 64 generate" in told
    assert "packed weights a node, one more a GPU until it is loaded" in told


def test_the_command_prints_a_plan_with_its_assumptions_and_says_by_its_status_whether_it_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, facts in (("small", SMOLLM2), ("big", KIMI_K2), ("none", {"hidden_size": 3})):
        (tmp_path / f"{name}.json").write_text(json.dumps(facts))
    assert main([str(tmp_path / "small.json"), "--gpu", "h100"]) == 0
    told = capsys.readouterr().out
    assert "0.13 B" in told and "packed           0.12 GB" in told and "assumptions:" in told
    assert main([str(tmp_path / "big.json"), "--gpus", "8"]) == 1
    assert main([str(tmp_path / "none.json")]) == 2
    assert "config.json has no 'num_hidden_layers'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--tokens", "--sampled"])
@pytest.mark.parametrize("given", ["nan", "inf", "-5", "0", "many"])
def test_tokens_are_a_number_above_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, given: str
) -> None:
    (tmp_path / "small.json").write_text(json.dumps(SMOLLM2))
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / "small.json"), f"{option}={given}"])
    assert caught.value.code == 2 and f"got '{given}', wanted a number above 0" in capsys.readouterr().err


def test_what_only_dense_layers_have_is_needed_where_there_are_some_and_null_is_nothing() -> None:
    without = {key: value for key, value in QWEN3_30B.items() if key != "intermediate_size"}
    assert model_size(without) == model_size(QWEN3_30B) == model_size(QWEN3_30B | {"first_k_dense_replace": None})
    with pytest.raises(ValueError, match="no 'intermediate_size', which the count"):
        model_size(without | {"first_k_dense_replace": 1})
    with pytest.raises(ValueError, match="no 'intermediate_size', which the count"):
        model_size({key: value for key, value in SMOLLM2.items() if key != "intermediate_size"})


def test_a_model_folder_that_is_not_there_is_told_with_what_a_plan_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(f'model.path = "{tmp_path / "absent"}"\n[[gyms]]\nname = "arithmetic"\nbudget = 4\n')
    assert main([str(config)]) == 2
    assert f"there is no {tmp_path / 'absent' / 'config.json'}; a plan needs a model's" in capsys.readouterr().err
    listed = tmp_path / "list.json"
    listed.write_text("[]")
    assert main([str(listed)]) == 2
    assert "list.json holds no JSON object" in capsys.readouterr().err
