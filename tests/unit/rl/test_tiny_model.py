"""The built model: the same arguments give the same folder, and others never find that of before."""

from __future__ import annotations

import json

import pytest

from configs.schema import TinyModelConfig
from rl.tiny_model import MANIFEST_FILE, build_tiny_model

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
