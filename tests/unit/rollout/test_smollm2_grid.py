"""Law number one on every layer of a real model: fake_quantize(w) == dequantize(unpack(pack(quantize(w)))), bitwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rollout.quant import dequantize, fake_quantize, pack_int4, quantize, unpack_int4

WEIGHTS = Path(__file__).parents[3] / "models" / "smollm2-135m-instruct" / "model.safetensors"


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="needs the SmolLM2 folder: `make model`")
def test_every_layer_of_smollm2_comes_back_from_packing_bit_for_bit() -> None:
    matrices = {name: w for name, w in load_file(WEIGHTS).items() if name.endswith("_proj.weight")}
    assert len(matrices) == 30 * 7
    for name, weight in matrices.items():
        codes, scale = quantize(weight, 32)
        image = fake_quantize(weight, 32)
        assert torch.equal(image, dequantize(unpack_int4(pack_int4(codes)), scale)), name
        assert torch.equal(image, fake_quantize(image, 32)), name
