"""The table from parameters to checkpoint matrices, against what transformers itself writes with `save_pretrained`."""

import pickle

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    Glm4MoeConfig,
    Glm4MoeForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OlmoeConfig,
    OlmoeForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssConfig, GptOssExperts
from transformers.models.llama4.modeling_llama4 import Llama4TextConfig, Llama4TextExperts
from transformers.pytorch_utils import Conv1D

from rollout.quant.grid import fake_quantize
from rollout.quant.kernels import CPU_WNA16
from rollout.quant.scheme import DEFAULT_IGNORE, QuantScheme
from rollout.quant.views import check_ignored, check_shapes, plain_views, quantized_views
from tests.rounding import rounding

SCHEME = QuantScheme()


def unquantized_tensors(model, table) -> dict[str, torch.Tensor]:
    """Checkpoint name -> tensor of everything outside the table."""
    return {name: tensor for entry in plain_views(model, table) for name, tensor in entry.views}


TINY = {
    "vocab_size": 48,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
MOE = {"moe_intermediate_size": 32, "num_experts_per_tok": 2}
LATENT = {"q_lora_rank": 32, "kv_lora_rank": 32, "qk_rope_head_dim": 32, "qk_nope_head_dim": 32, "v_head_dim": 32}
GROUPED = {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**TINY)),
    "llama_tied": lambda: LlamaForCausalLM(LlamaConfig(**TINY, tie_word_embeddings=True)),
    "qwen2_moe": lambda: Qwen2MoeForCausalLM(
        Qwen2MoeConfig(**TINY, **MOE, num_experts=4, shared_expert_intermediate_size=32)
    ),
    "qwen3_moe": lambda: Qwen3MoeForCausalLM(Qwen3MoeConfig(**TINY, **MOE, num_experts=4, head_dim=32)),
    "olmoe": lambda: OlmoeForCausalLM(OlmoeConfig(**TINY, num_experts=4, num_experts_per_tok=2, pad_token_id=2)),
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**TINY, num_local_experts=4)),
    "deepseek_v2": lambda: DeepseekV2ForCausalLM(DeepseekV2Config(**TINY, **MOE, **LATENT, **GROUPED)),
    "deepseek_v3": lambda: DeepseekV3ForCausalLM(DeepseekV3Config(**TINY, **MOE, **LATENT, **GROUPED)),
    "glm4_moe": lambda: Glm4MoeForCausalLM(Glm4MoeConfig(**TINY, **MOE, **GROUPED, head_dim=32)),
}


def build(name):
    torch.manual_seed(0)
    return MODELS[name]()


def matrices(table):
    return {name: view for entry in table for name, view in entry.views}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("ignore", [DEFAULT_IGNORE, (*DEFAULT_IGNORE, "re:.*mlp.*", "re:.*block_sparse_moe.*")])
def test_names_and_values_are_those_that_save_pretrained_writes(name, ignore, tmp_path):
    model = build(name)
    table = quantized_views(model, QuantScheme(ignore=ignore))
    check_shapes(table, 32, CPU_WNA16)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    ours = {f"{module}.weight": view for module, view in matrices(table).items()} | unquantized_tensors(model, table)
    assert sorted(ours) == sorted(saved)
    for key, tensor in saved.items():
        assert torch.equal(ours[key], tensor), key


@pytest.mark.parametrize("name", MODELS)
def test_views_cover_every_parameter_exactly_once(name):
    model = build(name)
    table = quantized_views(model, SCHEME)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    for entry in (*table, *plain_views(model, table)):
        for _, view in entry.views:
            if isinstance(entry.parameter, nn.Parameter):
                view.add_(1)
    for parameter_name, parameter in model.named_parameters():
        assert parameter.eq(1).all(), parameter_name


def test_a_dense_models_linear_layers_are_one_view_each():
    table = quantized_views(build("llama"), SCHEME)
    projections = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                   "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]  # fmt: skip
    assert list(matrices(table)) == [f"model.layers.{layer}.{p}" for layer in range(2) for p in projections]
    assert [entry.parameter_name for entry in table] == [f"{name}.weight" for name in matrices(table)]


def test_fused_experts_are_named_one_by_one_as_gate_then_up():
    model = build("qwen3_moe")
    experts = model.model.layers[1].mlp.experts
    views = matrices(quantized_views(model, SCHEME))
    prefix = "model.layers.1.mlp.experts"
    assert torch.equal(views[f"{prefix}.2.gate_proj"], experts.gate_up_proj[2, :32])
    assert torch.equal(views[f"{prefix}.2.up_proj"], experts.gate_up_proj[2, 32:])
    assert torch.equal(views[f"{prefix}.3.down_proj"], experts.down_proj[3])
    assert views[f"{prefix}.3.down_proj"].shape == (64, 32)


def gated(x, gate, up, down):
    """An expert, and how far another order of its sums may lead: three of them, over inputs, inputs and middle."""
    (num_middle, num_in), absolute = gate.shape, x.abs() @ gate.abs().T * (x.abs() @ up.abs().T) @ down.abs().T
    expected = (nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T
    return expected, rounding(2 * num_in + num_middle, size=absolute.max().item(), dtype=x.dtype)


def test_the_views_compute_what_the_experts_module_computes():
    experts = build("qwen3_moe").model.layers[0].mlp.experts
    views = matrices(quantized_views(nn.ModuleDict({"experts": experts}), SCHEME))
    x, chosen = torch.randn(5, 64), torch.tensor([[3]] * 5)
    expected, tolerance = gated(x, *(views[f"experts.3.{p}_proj"] for p in ("gate", "up", "down")))
    actual = experts(x, chosen, torch.ones(5, 1))
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def test_transposed_experts_are_transposed_views():
    config = Llama4TextConfig(hidden_size=64, intermediate_size=32, num_local_experts=3)
    experts = Llama4TextExperts(config).double()
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.normal_()
    views = matrices(quantized_views(nn.ModuleDict({"experts": experts}), SCHEME))
    gate, up, down = (views[f"experts.1.{p}_proj"] for p in ("gate", "up", "down"))
    assert (gate.shape, up.shape, down.shape) == ((32, 64), (32, 64), (64, 32))
    x = torch.randn(3, 5, 64, dtype=torch.float64)  # [E, T, H]: every expert sees its own tokens
    expected, tolerance = gated(x[1], gate, up, down)
    found = experts(x.reshape(-1, 64)).view(3, 5, 64)[1]
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


def test_conv1d_is_a_transposed_view():
    model = nn.ModuleDict({"c_fc": Conv1D(96, 64)}).double()
    ((name, view),) = matrices(quantized_views(model, SCHEME)).items()
    assert name == "c_fc" and view.shape == (96, 64)
    x = torch.randn(2, 64, dtype=torch.float64)
    found, tolerance = nn.functional.linear(x, view, model["c_fc"].bias), rounding(64 + 1, size=x.abs().sum().item())
    torch.testing.assert_close(found, model["c_fc"](x), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["qwen3_moe", "llama"])
def test_writing_into_the_views_writes_the_parameters(name):
    model = build(name)
    table = quantized_views(model, SCHEME)
    expected = {entry.parameter_name: entry.parameter.detach().clone() for entry in table}
    for entry in table:
        for _, view in entry.views:
            view.copy_(fake_quantize(view, 32))
    for entry in table:
        before, after = expected[entry.parameter_name], entry.parameter
        flat = before.reshape(-1, before.shape[-1])  # groups lie along the last dimension of an untransposed parameter
        assert torch.equal(after, fake_quantize(flat, 32).view(before.shape).to(after.dtype))


def test_the_same_cuts_apply_to_a_master_and_follow_a_dtype_change():
    model = build("qwen3_moe")
    table = quantized_views(model, SCHEME)
    entry = next(entry for entry in table if entry.parameter_name.endswith("gate_up_proj"))
    master = torch.randn(entry.parameter.shape)
    assert torch.equal(dict(entry.of(master))["model.layers.0.mlp.experts.1.up_proj"], master[1, 32:])
    model.to(torch.bfloat16)
    assert {view.dtype for _, view in entry.views} == {torch.bfloat16}
    assert pickle.loads(pickle.dumps(entry.parts)) == entry.parts


def test_a_tied_head_is_written_once_and_never_quantised():
    model = build("llama_tied")
    table = quantized_views(model, SCHEME)
    rest = unquantized_tensors(model, table)
    assert "lm_head.weight" not in rest and rest["model.embed_tokens.weight"] is not None
    assert "lm_head" not in matrices(table)
    with pytest.raises(ValueError, match=r"model\.embed_tokens\.weight and lm_head\.weight are one tied parameter"):
        quantized_views(model, QuantScheme(ignore=()))


def test_layers_that_share_a_weight_are_refused_unless_ignored():
    model = nn.ModuleDict({"a": nn.Linear(32, 32), "b": nn.Linear(32, 32), "c": nn.Linear(32, 32)})
    model["b"].weight = model["a"].weight
    with pytest.raises(ValueError, match=r"a\.weight and b\.weight are one tied parameter.*'a', 'b'"):
        quantized_views(model, SCHEME)
    table = quantized_views(model, QuantScheme(ignore=("a", "b")))
    assert sorted(unquantized_tensors(model, table)) == ["a.bias", "a.weight", "b.bias", "c.bias"]


def test_unknown_fused_experts_are_refused_by_name_unless_ignored():
    experts = GptOssExperts(GptOssConfig(hidden_size=64, intermediate_size=32, num_local_experts=2))
    model = nn.ModuleDict({"experts": experts, "proj": nn.Linear(32, 32)})
    with pytest.raises(
        ValueError, match=r"experts\.gate_up_proj \(2, 64, 64\) of GptOssExperts.*'experts'.*quant.ignore"
    ):
        quantized_views(model, SCHEME)
    table = quantized_views(model, QuantScheme(ignore=("experts",)))
    assert list(matrices(table)) == ["proj"]
    assert "experts.gate_up_proj" in unquantized_tensors(model, table)


def test_a_router_that_is_not_ignored_is_refused_by_name():
    with pytest.raises(ValueError, match=r"model\.layers\.0\.mlp\.gate\.weight .*TopKRouter"):
        quantized_views(build("qwen3_moe"), QuantScheme(ignore=("lm_head",)))


def test_half_ignored_experts_are_refused():
    ignore = (*DEFAULT_IGNORE, r"re:.*experts\.2\..*")
    with pytest.raises(ValueError, match=r"experts\.gate_up_proj: .*some of its 8 matrices .*experts\.2\.gate_proj"):
        quantized_views(build("qwen3_moe"), QuantScheme(ignore=ignore))


@pytest.mark.parametrize("name", MODELS)
def test_an_ignored_name_that_names_no_layer_is_refused(name):
    model = build(name)
    linear = sorted(matrices(quantized_views(model, SCHEME)))
    for known in (*linear, "lm_head", "model.norm", "model.embed_tokens", "re:.*vision.*"):
        check_ignored(model, QuantScheme(ignore=(*DEFAULT_IGNORE, known)))
    for typo in (f"{linear[0]}.weight", linear[0].removeprefix("model."), "model.layers.1.mlp", ".*o_proj", ""):
        with pytest.raises(ValueError, match=r"names no layer of the model.*re:"):
            check_ignored(model, QuantScheme(ignore=(*DEFAULT_IGNORE, typo)))


def test_nothing_to_quantise_is_refused():
    with pytest.raises(ValueError, match="nothing to quantise"):
        quantized_views(build("llama"), QuantScheme(ignore=("re:.*",)))


@pytest.mark.parametrize(
    ("num_in", "num_out", "group_size", "message"),
    [
        (96, 32, 64, r"a is \[out=32, in=96\]; the input dimension is no multiple of quant\.group_size = 64"),
        (48, 32, 16, r"a is \[out=32, in=48\]; .*kernel.*32.*quant\.ignore"),
        (64, 33, 32, r"a is \[out=33, in=64\]; .*kernel.*32.*'a'"),
    ],
)
def test_shapes_that_the_engine_cannot_take_are_refused_with_the_key_to_change(num_in, num_out, group_size, message):
    table = quantized_views(nn.ModuleDict({"a": nn.Linear(num_in, num_out)}), QuantScheme(group_size=group_size))
    with pytest.raises(ValueError, match=message):
        check_shapes(table, group_size, CPU_WNA16)
