"""The built model: the same arguments give the same folder, and others never find that of before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from configs.load import load_config
from configs.schema import TinyModelConfig
from rl.preflight import check_model
from rl.tiny_model import MANIFEST_FILE, build_tiny_model
from rollout.engine.device import CPU
from rollout.quant.kernels import CPU_WNA16
from rollout.quant.scheme import QuantScheme
from rollout.quant.views import check_shapes, quantized_views

SHAPE = TinyModelConfig(hidden_size=32, num_layers=1, num_heads=1, intermediate_size=32)


def built(folder, shape=SHAPE, *, context_length=32, seed=0) -> bytes:
    build_tiny_model(folder, shape, context_length=context_length, seed=seed)
    return (folder / "model.safetensors").read_bytes()


def test_a_whole_folder_of_the_same_arguments_is_left_alone(tmp_path):
    first = built(tmp_path / "model")
    before = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    assert built(tmp_path / "model") == first
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == before
    assert built(tmp_path / "other") == first


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"context_length": 64}, {"shape": SHAPE.model_copy(update={"num_layers": 2})}]
)
def test_other_arguments_build_the_folder_anew(tmp_path, change):
    built(tmp_path / "model")
    found = built(tmp_path / "model", **change)
    assert found == built(tmp_path / "fresh", **change)
    facts = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("model", "fresh")]
    assert facts[0] == facts[1]


def test_half_a_folder_is_built_anew(tmp_path):
    whole = built(tmp_path / "model")
    (tmp_path / "model" / MANIFEST_FILE).unlink()  # it is written last
    (tmp_path / "model" / "model.safetensors").write_bytes(b"half")
    assert built(tmp_path / "model") == whole


def test_with_experts_it_is_a_mixture_whose_experts_alone_the_shipped_config_quantises(tmp_path: Path) -> None:
    config = load_config([Path(__file__).parents[3] / "configs" / "tiny_moe.toml"], [])
    build_tiny_model(tmp_path, config.model.tiny, context_length=64, seed=0)
    model = AutoModelForCausalLM.from_pretrained(str(tmp_path))
    assert type(model).__name__ == "Qwen3MoeForCausalLM"
    scheme = QuantScheme(group_size=config.quant.group_size, ignore=config.quant.ignore)
    quantised = quantized_views(model, scheme)
    check_shapes(quantised, scheme.group_size, CPU_WNA16)
    names = {part.name for entry in quantised for part in entry.parts}
    assert names == {
        f"model.layers.{layer}.mlp.experts.{expert}.{matrix}"
        for layer in range(3)
        for expert in range(8)
        for matrix in ("gate_proj", "up_proj", "down_proj")
    }


def test_a_name_in_quant_ignore_that_names_no_layer_of_it_is_refused_before_a_run_starts(tmp_path: Path) -> None:
    file = Path(__file__).parents[3] / "configs" / "tiny_cpu.toml"
    ignore = 'quant.ignore=["lm_head", "re:.*embed.*", "re:.*norm.*", "{}layers.0.mlp.down_proj"]'
    config = load_config([file], [ignore.format("model.")])
    build_tiny_model(tmp_path, config.model.tiny, context_length=config.model.context_length, seed=0)
    check_model(config, tmp_path, CPU)
    with pytest.raises(ValueError, match=r"quant\.ignore has 'layers\.0\.mlp\.down_proj'.*like 'model\.embed_tokens'"):
        check_model(load_config([file], [ignore.format("")]), tmp_path, CPU)


def test_more_experts_a_token_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.tiny\.experts_per_token = 2 is more than"):
        TinyModelConfig(num_experts=1)
