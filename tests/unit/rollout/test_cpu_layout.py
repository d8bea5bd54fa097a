"""The CPU kernel's layout, against a loop over single codes; vLLM's own function is asked in tests of the engine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from rollout.engine import cpu_layout
from rollout.engine.cpu_layout import install, kernel_layout


@pytest.mark.parametrize(("num_outputs", "num_inputs"), [(16, 16), (32, 32), (48, 96), (64, 48)])
def test_every_code_stands_where_the_kernel_reads_it(num_outputs: int, num_inputs: int) -> None:
    packed = torch.randint(-(2**31), 2**31, (num_outputs, num_inputs // 8), dtype=torch.int32)
    found = kernel_layout(packed)
    assert found.shape == (num_outputs // 16, 2 * num_inputs) and found.dtype == torch.int32
    for o in range(num_outputs):
        for i in range(num_inputs):
            code = (int(packed[o, i // 8]) >> (4 * (i % 8))) & 15
            word = int(found[o // 16, 2 * i + (o % 16) // 8])
            assert (word >> (4 * (o % 8))) & 15 == code, (o, i)


def test_blocks_leave_no_seam_and_a_given_tensor_is_written_into() -> None:
    packed = torch.randint(-(2**31), 2**31, (96, 8192), dtype=torch.int32)  # one block of 16 outputs at a time
    out = torch.empty(6, 2 * 65536, dtype=torch.int32)
    assert kernel_layout(packed, out=out) is out
    for block in range(6):
        assert torch.equal(out[block], kernel_layout(packed[16 * block : 16 * block + 16].clone())[0])
        for i in (0, 7, 40000, 65535):
            codes = [(int(packed[16 * block + o, i // 8]) >> (4 * (i % 8))) & 15 for o in range(16)]
            words = [int(word) for word in out[block, 2 * i : 2 * i + 2]]
            assert [(words[o // 8] >> (4 * (o % 8))) & 15 for o in range(16)] == codes


def test_words_may_start_anywhere_in_their_memory() -> None:
    words = torch.randint(-(2**31), 2**31, (1 + 16 * 4,), dtype=torch.int32)
    assert torch.equal(kernel_layout(words[1:].view(16, 4)), kernel_layout(words[1:].clone().view(16, 4)))


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
