"""What cannot be trained is refused by its name and with the reason, from the config alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoConfig

from rl.architectures import check_architecture, check_tensor_parallel
from tests.families.shapes import FAMILIES, Family, config_of

FOLDER = Path("models/x")


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.refusal is None], ids=lambda family: family.name)
def test_an_architecture_that_is_proven_to_work_is_not_refused(family: Family) -> None:
    check_architecture(config_of(family), context_length=64, model_folder=FOLDER, on_cpu=True)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.refusal], ids=lambda family: family.name)
def test_an_architecture_that_cannot_work_is_refused_with_its_reason(family: Family) -> None:
    assert family.refusal is not None
    with pytest.raises(ValueError, match=family.refusal):
        check_architecture(config_of(family), context_length=64, model_folder=FOLDER, on_cpu=True)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("qwen3_next", "layers of linear_attention"), ("llama4_text", "attends over chunks of 8192 tokens")],
)
def test_layers_that_a_tree_mask_can_not_steer_are_refused(kind: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_architecture(AutoConfig.for_model(kind), context_length=9000, model_folder=FOLDER, on_cpu=True)


def test_latent_attention_of_another_width_is_for_gpus() -> None:
    facts = AutoConfig.for_model("deepseek_v3", kv_lora_rank=256, qk_rope_head_dim=32)
    with pytest.raises(ValueError, match=r"kv_lora_rank = 256 .* serve it on a GPU"):
        check_architecture(facts, context_length=64, model_folder=FOLDER, on_cpu=True)
    check_architecture(facts, context_length=64, model_folder=FOLDER, on_cpu=False)


def test_slices_are_for_dense_models_whose_heads_they_divide() -> None:
    llama = AutoConfig.for_model("llama", hidden_size=192, num_attention_heads=6, num_key_value_heads=2)
    assert check_tensor_parallel(llama, 2)["layers.*.mlp.down_proj"] == "rowwise"
    with pytest.raises(ValueError, match=r"tensor_parallel = 6 does not divide num_key_value_heads = 2"):
        check_tensor_parallel(llama, 6)
    with pytest.raises(ValueError, match=r"for dense models .* not for qwen3_moe"):
        check_tensor_parallel(AutoConfig.for_model("qwen3_moe"), 2)
