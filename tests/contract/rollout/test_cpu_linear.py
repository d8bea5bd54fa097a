"""BF16 products of an engine on a CPU: no row's bits depend on how many others are in the batch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from rollout.engine.compat import prepare_environment
from rollout.quant.grid import fake_quantize, quantize
from rollout.quant.pack import pack_int4


@pytest.fixture
def cpu_linear(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, which imports vLLM; no shape was tried yet."""
    prepare_environment()
    from rollout.engine import cpu_linear

    monkeypatch.setattr(cpu_linear, "_free", {})
    return cpu_linear


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)


def hang(monkeypatch: pytest.MonkeyPatch, cpu_linear: Any, product: Any) -> None:
    """Let vLLM hang this product on every layer."""

    def dispatch(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = product

    monkeypatch.setattr(cpu_linear, "dispatch_cpu_unquantized_gemm", dispatch)


@pytest.mark.parametrize("shape", [(96, 64), (960, 576)], ids=str)
def test_a_row_has_the_same_bits_alone_and_among_any_number_of_others(cpu_linear: Any, shape: tuple[int, int]) -> None:
    weight, x = drawn(*shape), drawn(300, shape[1], seed=1)
    product = cpu_linear.packed_linear(weight)
    whole = product(x, None, None)
    for num_rows in (1, 2, 7, 19, 37, 71, 113, 150, 211, 299):
        assert torch.equal(product(x[:num_rows], None, None), whole[:num_rows])
    assert torch.equal(product(x.view(4, -1, shape[1]), None, None).view(whole.shape), whole)


def test_a_product_is_that_of_vllms_own_function(cpu_linear: Any) -> None:
    layer: Any = SimpleNamespace(weight=torch.nn.Parameter(drawn(96, 64), requires_grad=False))
    cpu_linear.dispatch_cpu_unquantized_gemm(layer, remove_weight=False)
    x, bias = drawn(32, 64, seed=1), drawn(96, seed=2)
    assert torch.equal(cpu_linear.packed_linear(layer.weight)(x, None, bias), layer.cpu_linear(x, layer.weight, bias))


@pytest.mark.parametrize(("at", "is_free"), [(48, False), (257, True)], ids=["as with AMX", "free"])
def test_rows_are_multiplied_in_blocks_of_a_fixed_number_where_their_bits_depend_on_it(
    cpu_linear: Any, monkeypatch: pytest.MonkeyPatch, at: int, is_free: bool
) -> None:
    weight, sizes = drawn(96, 64), []

    def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sizes.append(len(x))
        return x @ weight.T + (len(x) >= at)  # another kernel, from so many rows on

    hang(monkeypatch, cpu_linear, product)
    ours, x = cpu_linear.packed_linear(weight), drawn(260, 64, seed=1)
    del sizes[:]
    found = ours(x, None, None)
    expected = torch.cat([block @ weight.T for block in x.split(256 if is_free else 32)])
    assert torch.equal(found, expected)
    assert sizes == ([256, 4] if is_free else [32] * 9)


def test_a_product_that_keeps_no_copy_multiplies_by_the_weight_that_was_given(
    cpu_linear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang(monkeypatch, cpu_linear, torch.nn.functional.linear)  # vLLM's last resort, without oneDNN
    weight, x = drawn(96, 64), drawn(5, 64, seed=1)
    assert torch.equal(cpu_linear.packed_linear(weight)(x, None, None), x @ weight.T)


def test_the_values_of_a_fused_layer_are_those_of_its_parts_one_behind_the_other() -> None:
    prepare_environment()
    from rollout.engine.cpu_copy import int4_values

    parts = [drawn(64, 96), drawn(32, 96, seed=1)]
    packed = [(pack_int4(codes), scale) for codes, scale in (quantize(part, 32) for part in parts)]
    assert torch.equal(int4_values(packed), torch.cat([fake_quantize(part, 32) for part in parts]))
