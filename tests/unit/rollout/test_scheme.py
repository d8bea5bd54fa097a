"""Which modules are quantised, and how `config.json` says so."""

import copy
import json

import pytest

from rollout.quant.scheme import QuantScheme, check_coverage

NAMES = [
    "lm_head",
    "language_model.lm_head",
    "model.embed_tokens",
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.q_norm",
    "model.layers.0.mlp.gate",
    "model.layers.0.mlp.gate_proj",
    "model.layers.0.mlp.experts.11.gate_proj",
    "model.layers.0.mlp.shared_expert.up_proj",
    "model.layers.0.mlp.shared_expert_gate",
    "model.layers.0.block_sparse_moe.gate",
    "model.layers.0.block_sparse_moe.experts.3.w1",
    "model.layers.0.feed_forward.router",
]
KIMI_K2_IGNORE = ("lm_head", "re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*")


def test_by_default_heads_embeddings_norms_and_routers_stay_bfloat16():
    scheme = QuantScheme()
    assert [name for name in NAMES if not scheme.is_ignored(name)] == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.mlp.gate_proj",
        "model.layers.0.mlp.experts.11.gate_proj",
        "model.layers.0.mlp.shared_expert.up_proj",
        "model.layers.0.block_sparse_moe.experts.3.w1",
    ]


def test_kimi_k2s_own_list_leaves_the_routed_experts():
    scheme = QuantScheme(ignore=KIMI_K2_IGNORE)
    assert not scheme.is_ignored("model.layers.5.mlp.experts.383.down_proj")
    for name in ("lm_head", "model.layers.5.self_attn.o_proj", "model.layers.5.mlp.shared_experts.up_proj",
                 "model.layers.0.mlp.down_proj"):  # fmt: skip
        assert scheme.is_ignored(name)


@pytest.mark.parametrize(
    ("entry", "name", "is_ignored"),
    [
        ("lm_head", "lm_head", True),
        ("lm_head", "language_model.lm_head", False),  # a plain name is a whole name
        ("mlp.gate", "model.layers.0.mlp.gate", False),
        ("re:mlp", "model.layers.0.mlp.up_proj", False),  # a pattern matches from the beginning ...
        ("re:.*mlp", "model.layers.0.mlp.up_proj", True),  # ... and need not reach the end
        (r"re:.*mlp\.gate$", "model.layers.0.mlp.gate_proj", False),
        (r"re:.*mlp\.gate", "model.layers.0.mlp.gate_proj", True),
    ],
)
def test_names_match_as_compressed_tensors_matches_them(entry, name, is_ignored):
    assert QuantScheme(ignore=(entry,)).is_ignored(name) == is_ignored


@pytest.mark.parametrize("scheme", [QuantScheme(), QuantScheme(group_size=128, ignore=KIMI_K2_IGNORE)])
def test_the_config_survives_json_and_reads_back(scheme):
    config = json.loads(json.dumps(scheme.quantization_config()))
    assert QuantScheme.from_config(config) == scheme


def test_the_config_names_the_format_the_engine_reads():
    config = QuantScheme(group_size=64, ignore=("lm_head",)).quantization_config()
    assert (config["quant_method"], config["format"], config["ignore"]) == (
        "compressed-tensors",
        "pack-quantized",
        ["lm_head"],
    )
    group = config["config_groups"]["group_0"]
    assert group["targets"] == ["Linear"] and group["input_activations"] is None
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 64}
    assert weights.items() <= group["weights"].items()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("quant_method",), "gptq"),
        (("format",), "int-quantized"),
        (("kv_cache_scheme",), {"num_bits": 8}),
        (("config_groups", "group_0", "targets"), ["Linear", "Embedding"]),
        (("config_groups", "group_0", "input_activations"), {"num_bits": 8}),
        (("config_groups", "group_0", "output_activations"), {"num_bits": 8}),
        (("config_groups", "group_0", "weights", "num_bits"), 8),
        (("config_groups", "group_0", "weights", "type"), "float"),
        (("config_groups", "group_0", "weights", "symmetric"), False),
        (("config_groups", "group_0", "weights", "strategy"), "channel"),
        (("config_groups", "group_0", "weights", "actorder"), "group"),
        (("config_groups", "group_0", "weights", "dynamic"), True),
        (("config_groups", "group_0", "weights", "group_size"), None),
    ],
)
def test_a_config_that_asks_for_something_else_is_refused_by_key(path, value):
    config = copy.deepcopy(QuantScheme().quantization_config())
    parent = config
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    with pytest.raises(ValueError, match=path[-1]):
        QuantScheme.from_config(config)


def test_two_groups_of_a_config_are_refused():
    config = QuantScheme().quantization_config()
    config["config_groups"]["group_1"] = config["config_groups"]["group_0"]
    with pytest.raises(ValueError, match=r"\['group_0', 'group_1'\]"):
        QuantScheme.from_config(config)


def test_a_scheme_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"quant\.group_size is 0"):
        QuantScheme(group_size=0)
    with pytest.raises(ValueError, match=r"quant\.group_size is 33"):
        QuantScheme(group_size=33)
    with pytest.raises(ValueError, match=r"quant\.ignore has 're:\*\.gate'"):
        QuantScheme(ignore=("re:*.gate",))
    with pytest.raises(ValueError, match=r"quant\.ignore is the text 'lm_head'"):
        QuantScheme(ignore="lm_head")


def test_coverage_holds_both_ways():
    scheme = QuantScheme(ignore=("lm_head",))
    check_coverage(scheme, ["a.q", "a.k"], ["a.q", "a.k", "lm_head"])
    with pytest.raises(ValueError, match=r"1 not ignored but not quantised: a\.k$"):
        check_coverage(scheme, ["a.q"], ["a.q", "a.k", "lm_head"])
    with pytest.raises(ValueError, match=r"1 ignored by quant\.ignore but quantised: lm_head"):
        check_coverage(scheme, ["a.q", "lm_head"], ["a.q", "lm_head"])
    with pytest.raises(ValueError, match=r"1 quantised but no linear module of the model: a\.z"):
        check_coverage(scheme, ["a.q", "a.z"], ["a.q", "lm_head"])


ATTENTION = [f"model.layers.0.self_attn.{part}_proj" for part in "qkvo"]
MLP = [f"model.layers.0.mlp.{part}_proj" for part in ("gate", "up", "down")]
LATENT = [f"model.layers.0.self_attn.{part}" for part in ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj")]


@pytest.mark.parametrize(
    ("ignored", "linear", "message"),
    [
        (["re:.*q_proj"], ATTENTION, r"leaves out q_proj of model\.layers\.0\.self_attn and not k_proj, v_proj"),
        (
            ["re:.*[kv]_proj"],
            ATTENTION,
            "leaves out k_proj, v_proj of .* and not q_proj: the engine holds q_proj, k_proj",
        ),
        (["re:.*up_proj"], MLP, r"leaves out up_proj of model\.layers\.0\.mlp and not gate_proj"),
        (["re:.*kv_a_proj_with_mqa"], LATENT, "leaves out kv_a_proj_with_mqa of .* and not q_a_proj"),
    ],
)
def test_a_layer_that_the_engine_fuses_is_ignored_as_a_whole_or_not_at_all(ignored, linear, message):
    scheme = QuantScheme(ignore=tuple(ignored))
    with pytest.raises(ValueError, match=message):
        check_coverage(scheme, [name for name in linear if not scheme.is_ignored(name)], linear)


@pytest.mark.parametrize(
    ("ignored", "linear"),
    [
        (["re:.*[qkv]_proj"], ATTENTION),
        (["re:.*o_proj", "re:.*down_proj"], ATTENTION + MLP),
        (["re:.*layers.0.*q_proj", "re:.*layers.0.*k_proj", "re:.*layers.0.*v_proj"], ATTENTION),
        (["re:.*up_proj"], [name for name in MLP if "gate" not in name]),  # an MLP without a gate
    ],
)
def test_other_parts_may_be_ignored_alone(ignored, linear):
    scheme = QuantScheme(ignore=tuple(ignored))
    check_coverage(scheme, [name for name in linear if not scheme.is_ignored(name)], linear)
