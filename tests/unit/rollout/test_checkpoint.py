"""From a model to the bytes of its INT4 checkpoint, and to a folder."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from rollout.quant.checkpoint import packed_tensors, write_model_folder
from rollout.quant.grid import dequantize, fake_quantize
from rollout.quant.pack import unpack_int4
from rollout.quant.scheme import QuantScheme
from rollout.quant.views import quantized_views

SCHEME = QuantScheme()
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
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**TINY, tie_word_embeddings=True)),
    "moe": lambda: Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**TINY, num_experts=4, moe_intermediate_size=32, num_experts_per_tok=2, head_dim=32)
    ),
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]()


@pytest.fixture
def source(model, tmp_path):
    folder = tmp_path / "source"
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text('{"a": 1}')
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "README.md").write_text("not copied")
    return folder


def published(model, **kwargs):
    tensors = packed_tensors(model, quantized_views(model, SCHEME), SCHEME, **kwargs)
    return {name: tensor.clone() for name, tensor in tensors}


def assert_same(left, right):
    assert list(left) == list(right)
    for name, tensor in left.items():
        assert tensor.dtype == right[name].dtype and torch.equal(tensor, right[name]), name


def test_a_quantised_module_becomes_three_tensors_and_the_rest_bfloat16(model):
    tensors = published(model)
    prefix = "model.layers.0.self_attn.q_proj"
    assert tensors[f"{prefix}.weight_packed"].dtype == torch.int32
    assert tensors[f"{prefix}.weight_packed"].shape == (64, 8)
    assert tensors[f"{prefix}.weight_scale"].dtype == torch.bfloat16
    assert tensors[f"{prefix}.weight_scale"].shape == (64, 2)
    assert tensors[f"{prefix}.weight_shape"].dtype == torch.int64
    assert tensors[f"{prefix}.weight_shape"].tolist() == [64, 64]
    assert f"{prefix}.weight" not in tensors
    assert tensors["model.norm.weight"].dtype == tensors["model.embed_tokens.weight"].dtype == torch.bfloat16


def test_what_is_published_dequantises_to_the_learners_forward_weights(model):
    tensors = published(model)
    for entry in quantized_views(model, SCHEME):
        for name, view in entry.views:
            codes = unpack_int4(tensors[f"{name}.weight_packed"])
            values = dequantize(codes, tensors[f"{name}.weight_scale"])
            expected = fake_quantize(view, 32)
            assert torch.equal(values.view(torch.int16), expected.view(torch.int16)), name


def test_masters_and_the_fake_quantised_model_give_the_same_bytes(model):
    masters = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    table = quantized_views(model, SCHEME)
    for entry in table:
        for _, view in entry.views:
            view.copy_(fake_quantize(view, 32))
    from_masters = published(model, master=masters.__getitem__)
    assert_same(from_masters, published(model))
    assert_same(from_masters, published(model.to(torch.bfloat16)))


def test_the_master_is_what_is_published_and_not_the_model(model):
    masters = {name: parameter.detach() * 2 for name, parameter in model.named_parameters()}
    doubled, plain = published(model, master=masters.__getitem__), published(model)
    name = "model.layers.1.self_attn.o_proj"
    assert torch.equal(doubled[f"{name}.weight_scale"], plain[f"{name}.weight_scale"] * 2)
    assert torch.equal(doubled["model.norm.weight"], plain["model.norm.weight"] * 2)


def test_the_tensors_of_a_layer_follow_one_another(model):
    owners = [name.rpartition(".")[0] for name in published(model)]
    for depth in (3, 4):  # layers, then attention and mlp
        prefixes = [".".join(owner.split(".")[:depth]) for owner in owners]
        runs = [prefix for i, prefix in enumerate(prefixes) if i == 0 or prefix != prefixes[i - 1]]
        assert len(runs) == len(set(runs))


def test_buffers_keep_their_dtype():
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(32, 32)})
    model["a"].register_buffer("correction", torch.tensor([1.001]))
    tensors = published(model)
    assert tensors["a.correction"].dtype == torch.float32 and tensors["a.bias"].dtype == torch.bfloat16


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_refused_by_its_checkpoint_name(model, bad):
    with torch.no_grad():
        model.model.layers[1].self_attn.v_proj.weight[3, 4] = bad
    with pytest.raises(ValueError, match=r"model\.layers\.1\.self_attn\.v_proj: 1 of 4096"):
        published(model)
    model = MODELS["llama"]()
    with torch.no_grad():
        model.model.norm.weight[0] = bad
    with pytest.raises(ValueError, match=r"model\.norm\.weight: 1 of 64"):
        published(model)


def write(model, folder, source):
    write_model_folder(folder, packed_tensors(model, quantized_views(model, SCHEME), SCHEME), SCHEME, source)


def test_the_folder_holds_the_tensors_the_config_and_the_tokenizer(model, source, tmp_path):
    write(model, tmp_path / "runs" / "int4", source)
    folder = tmp_path / "runs" / "int4"
    assert_same(dict(sorted(published(model).items())), dict(sorted(load_file(folder / "model.safetensors").items())))
    config, before = (json.loads((path / "config.json").read_text()) for path in (folder, source))
    assert QuantScheme.from_config(config["quantization_config"]) == SCHEME
    assert config["dtype"] == config["torch_dtype"] == "bfloat16"
    changed = {"quantization_config", "dtype", "torch_dtype"}
    assert {k: v for k, v in config.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (folder / name).read_bytes() == (source / name).read_bytes()
    assert not (folder / "README.md").exists()


def test_a_tokenizer_has_all_of_its_files_by_whatever_names_transformers_reads(tmp_path):
    """The names stand in the tables of transformers' tokenizers; a file more than the tables have is Mistral's."""
    files = Path(transformers.__file__).parent.glob("models/*/tokenization_*.py")
    tables = [re.findall(r"^VOCAB_FILES_NAMES = ({[^}]*})", file.read_text(encoding="utf-8"), re.M) for file in files]
    names = set(re.findall(r': "([^"]+)"', str(tables)))
    assert {"tokenizer.json", "sentencepiece.bpe.model"} < names and len(names) > 10
    names |= {"tekken.json", "tiktoken.model", "additional_chat_templates/tool_use.jinja"}
    source = tmp_path / "source"
    (source / "additional_chat_templates").mkdir(parents=True)
    (source / "config.json").write_text("{}")
    for name in names:
        (source / name).write_text(name)
    write_model_folder(tmp_path / "int4", [("a", torch.zeros(2))], SCHEME, source)
    assert {name for name in names if not (tmp_path / "int4" / name).is_file()} == set()
    assert (tmp_path / "int4" / "tekken.json").read_text() == "tekken.json"


def test_writing_twice_gives_the_same_bytes_also_from_the_fake_quantised_model(model, source, tmp_path):
    write(model, tmp_path / "a", source)
    for entry in quantized_views(model, SCHEME):
        for _, view in entry.views:
            view.copy_(fake_quantize(view, 32))
    write(model.to(torch.bfloat16), tmp_path / "b", source)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_an_older_folder_is_replaced_whole_and_nothing_is_left_beside_it(model, source, tmp_path):
    (tmp_path / "int4").mkdir()
    (tmp_path / "int4" / "stale.safetensors").write_text("old")
    write(model, tmp_path / "int4", source)
    assert not (tmp_path / "int4" / "stale.safetensors").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int4", "source"]


def test_a_failure_leaves_the_older_folder_and_no_partial_one(source, tmp_path):
    (tmp_path / "int4").mkdir()
    (tmp_path / "int4" / "model.safetensors").write_text("old")

    def failing():
        yield "a", torch.zeros(2)
        raise ValueError("no more tensors")

    with pytest.raises(ValueError, match="no more tensors"):
        write_model_folder(tmp_path / "int4", failing(), SCHEME, source)
    assert (tmp_path / "int4" / "model.safetensors").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int4", "source"]


def test_a_reader_never_sees_a_half_written_folder(source, tmp_path, monkeypatch):
    folder, seen, rename = tmp_path / "int4", [], os.rename

    def tensors():
        for name in "ab":
            assert not folder.exists()
            yield name, torch.zeros(2)

    def renamed(old, new, **where):
        if str(new) == str(folder):
            assert not folder.exists()
            seen.append(sorted(path.name for path in Path(old).iterdir()))
        return rename(old, new, **where)

    monkeypatch.setattr(os, "rename", renamed)
    write_model_folder(folder, tensors(), SCHEME, source)
    assert seen == [sorted(path.name for path in folder.iterdir())] and "config.json" in seen[0]


def test_a_source_without_a_config_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json; want the folder of the model"):
        write_model_folder(tmp_path / "int4", [], SCHEME, tmp_path)
