"""The CPU kernel's layout, against a loop over single codes; vLLM's own function is asked in tests of the engine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from rollout.engine import cpu_layout
from rollout.engine.cpu_layout import install, kernel_layout


@pytest.mark.parametrize(("num_outputs", "num_inputs"), [(16, 8), (32, 32), (48, 96), (64, 40)])
def test_every_code_stands_where_the_kernel_reads_it(num_outputs: int, num_inputs: int) -> None:
    packed = torch.randint(-(2**31), 2**31, (num_outputs, num_inputs // 8), dtype=torch.int32)
    found = kernel_layout(packed)
    assert found.shape == (num_outputs // 16, 2 * num_inputs) and found.dtype == torch.int32
    for o in range(num_outputs):
        for i in range(num_inputs):
            code = (int(packed[o, i // 8]) >> (4 * (i % 8))) & 15
            word = int(found[o // 16, 2 * i + (o % 16) // 8])
            assert (word >> (4 * (o % 8))) & 15 == code, (o, i)


def test_a_kernel_with_another_layout_keeps_its_own(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    class Kernel:
        w_q_name, w_s_name = "codes", "scales"

        def _process_gptq_weights_w4a16(self, layer: SimpleNamespace) -> None:
            layer.codes.data = layer.codes.data.contiguous()

    own = Kernel._process_gptq_weights_w4a16
    monkeypatch.setattr(
        cpu_layout, "_process", lambda kernel, layer: setattr(layer.codes, "data", kernel_layout(layer.codes.data.t()))
    )
    assert not install(Kernel())
    assert Kernel._process_gptq_weights_w4a16 is own
    assert "another layout" in caplog.text


def test_a_kernel_without_that_function_is_left_alone() -> None:
    assert not install(SimpleNamespace())
