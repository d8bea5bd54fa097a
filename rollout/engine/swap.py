"""The engine's end of a swap: new packed weights into a live vLLM model, all of them or none.

vLLM repacks INT4 weights into its kernel's own layout when it loads them, so a raw copy cannot work. Its layerwise
reload puts a layer back on checkpoint metadata, buffers the tensors that arrive, repacks once a layer is complete, and
copies the result into the old storage (addresses stay; captured graphs stay valid). Two of its habits would break the
contract and are handled here:

- a layer that gets only some of its tensors is processed anyway, over uninitialised memory, with a DEBUG line; a layer
  that gets none keeps its old weights with a WARNING. `require_complete` turns both into an error before `finalize`;
- an exception in the middle leaves layers on the meta device, and a retry replays the bad tensors. `restore` puts every
  kernel tensor back and clears the buffers. Layers that were already processed then hold new weights: the caller must
  swap the whole old artefact in again before it serves (rollout/engine/engine.py does);
- a bias is put elsewhere by kernels that permute it, and captured graphs go on with the old one: see
  rollout/engine/addresses.py;
- a head that is tied to the embedding is not reloaded as a layer of its own (rollout/engine/cpu_linear.py).

This way takes any model and kernel. Where the engine's memory layout is known, the weights are made in it beforehand
and copied (rollout/engine/staging.py); this one then only puts an old version back.

Tensors handed over must stay alive and unchanged until `swap` returns: the reloader keeps references to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from vllm.config import set_current_vllm_config
from vllm.model_executor.layers.linear import LinearBase
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, VocabParallelEmbedding
from vllm.model_executor.model_loader.reload import layerwise

from rollout.engine import cpu_experts, cpu_layout
from rollout.engine.addresses import Homes
from rollout.engine.compat import adapt_marlin, is_deferred_attention, request_amx, skip_ranks
from rollout.engine.cpu_copy import copy_int4_layers, refresh_copies
from rollout.engine.cpu_linear import input_width, is_tied_head, refresh_cpu_linears
from rollout.engine.cpu_rotary import use_exact_rotary
from rollout.engine.kept import Kept, clear_kv_cache
from rollout.engine.routing import RoutingTable
from rollout.engine.staging import Staging, checked_staging
from rollout.engine.workers import Answer
from rollout.weights.contract import WeightArtefact
from rollout.weights.receiver import ExpectedTensors, check_bytes, tensors

__all__ = ["IncompleteSwap", "SwapExtension", "effective_weights"]

request_amx()  # here too: with tensor parallelism a worker is a process of its own, which imports this first
skip_ranks()
if torch.cuda.is_available():
    adapt_marlin()


class IncompleteSwap(RuntimeError):
    """Weights arrived for some layers only; the model must not serve until it is swapped whole."""


def require_complete(model: torch.nn.Module) -> None:
    """Every layer with parameters of its own has been given all of them.

    Raises:
        IncompleteSwap: names the first layers that have not.
    """
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    missing = []
    for name, module in model.named_modules():
        info = layerwise.LAYERWISE_INFO.get(module)
        if info is None or not info.can_load():
            continue  # processed: complete
        if isinstance(module, VocabParallelEmbedding) and info.loaded_weights:
            continue  # its rows are padded to a multiple of 64: given whole, the count still falls short
        own = [p for p in module._parameters.values() if p is not None and owners[id(p)] == 1]
        is_attention = is_deferred_attention(module)  # scales of its own, finalised by vLLM
        if own and not is_attention and not is_tied_head(model, name):
            missing.append(f"{name} ({info.load_numel} of {info.load_numel_total} elements)")
    if missing:
        raise IncompleteSwap(f"{len(missing)} layers are incomplete: {', '.join(missing[:4])}")


def clear_padding(model: torch.nn.Module) -> None:
    """Zeros where a process has nothing of a small vocabulary but rows that pad it, as when it was loaded: a reload
    gives such a layer no tensor and leaves what it finds, which after a sleep is garbage."""
    for module in model.modules():
        if isinstance(module, VocabParallelEmbedding) and not module.shard_indices.num_org_elements:
            for parameter in module.parameters(recurse=False):
                parameter.zero_()


def restore(model: torch.nn.Module) -> None:
    """Undo the reloader's half-done work after an exception: kernel tensors back, buffered tensors dropped."""
    for module in model.modules():
        info = layerwise.LAYERWISE_INFO.get(module)
        if info is None:
            continue
        if info.kernel_tensors is not None:
            layerwise._place_kernel_tensors(module, info)
        info.reset()
    layerwise.LOADING_LAYERS.clear()
    if hasattr(model, "_original_do_torchao_reload"):
        model._do_torchao_reload = model._original_do_torchao_reload


class SwapExtension:
    """Methods that vLLM adds to its worker (`worker_extension_cls`); names are prefixed so as not to clash with it."""

    def k2rl_try(self: Any, method: Any, args: tuple[Any, ...]) -> Answer:
        """Call a method of this worker, and tell what came of it instead of raising (rollout/engine/workers.py)."""
        try:
            call = getattr(self, method) if isinstance(method, str) else partial(method, self)
            return Answer(value=call(*args))
        except Exception as error:  # the caller raises it, once all workers have answered
            return Answer(error=f"{type(error).__name__}: {error}")

    def k2rl_hold(self: Any, artefact: WeightArtefact) -> None:
        """Keep an artefact for `k2rl_load_held`.

        Raises:
            WeightsRefused: it was damaged on the way here.
        """
        self.k2rl_held = None
        check_bytes(artefact)
        self.k2rl_held = artefact

    def k2rl_load_held(self: Any) -> None:
        """Load this worker's slices of the artefact that it holds, and let it go."""
        held, self.k2rl_held = self.k2rl_held, None
        self.k2rl_swap(tensors(held))

    def k2rl_swap(self: Any, named: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Load checkpoint-format tensors into the live model. On any exception the model is loadable but mixed."""
        model = self.model_runner.get_model()
        homes = Homes(model)
        with set_current_vllm_config(self.vllm_config), torch.no_grad(), torch.device(self.device):
            try:
                layerwise.initialize_layerwise_reload(model)
                model.load_weights(named)
                require_complete(model)
                layerwise.finalize_layerwise_reload(model, self.model_config)
                homes.bring_back()
                clear_padding(model)
            except BaseException:
                restore(model)
                raise
            refresh_cpu_linears(model)
            refresh_copies(model)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def k2rl_prepare(self: Any, bf16_copy: bool) -> int:
        """Once after loading: make BF16 layers batch-invariant and return the number of INT4 layers.

        Args:
            bf16_copy: whether INT4 layers are multiplied by with a copy of their values (rollout/engine/cpu_copy.py).

        Raises:
            RuntimeError: an INT4 layer would quantise its activations.
        """
        model = self.model_runner.get_model()
        refresh_cpu_linears(model)
        if self.device.type == "cpu":
            use_exact_rotary(model)
        linears = [(n, m) for n, m in model.named_modules() if hasattr(m, "weight_packed")]
        if self.device.type == "cpu" and linears:
            cpu_layout.install(linears[0][1].scheme.kernel)
        if wrong := [name for name, module in linears if getattr(module, "use_w4a8", False)]:
            raise RuntimeError(f"{len(wrong)} layers compute with int8 activations, e.g. {wrong[0]}; W4A16 is required")
        if bf16_copy:
            copy_int4_layers(model)
        return len(linears)

    def k2rl_staging(self: Any, folder: Path, expected: ExpectedTensors) -> Staging | None:
        """Once after loading `folder`: what makes this model's weights beside it, where that is proven exact."""
        return checked_staging(self.model_runner.get_model(), folder, expected)

    def k2rl_routing(self: Any, num_blocks: int, block_size: int) -> RoutingTable:
        """Once after loading: note from now on which experts tokens are routed to."""
        return RoutingTable(self.model_runner.get_model(), num_blocks=num_blocks, block_size=block_size)

    def k2rl_keep(self: Any, checkpoint_names: Collection[str]) -> None:
        """Before sleep: copy to the host what those tensors of a checkpoint will not bring back."""
        self.k2rl_kept = Kept(self.model_runner.get_model(), checkpoint_names)

    def k2rl_restore(self: Any) -> None:
        """After the weights' memory is back: write it where it was."""
        self.k2rl_kept.restore()

    def k2rl_clear_kv_cache(self: Any) -> None:
        """After the KV cache's memory is back."""
        clear_kv_cache(self.model_runner.get_model())

    def k2rl_empty_allocator(self: Any) -> None:
        """Give what torch's allocator caches back to the device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def k2rl_has_fast_layout(self: Any) -> bool:
        """Whether swaps make the CPU kernel's layout by rollout/engine/cpu_layout.py. For tests."""
        linears = [m for m in self.model_runner.get_model().modules() if hasattr(m, "weight_packed")]
        return cpu_layout.install(linears[0].scheme.kernel)

    def k2rl_fused_layers(self: Any) -> dict[str, list[str]]:
        """Engine's name of a fused layer -> the checkpoint's names of its parts. For proofs."""
        return dict(getattr(self.model_runner.get_model(), "packed_modules_mapping", {}))

    def k2rl_effective_weights(self: Any) -> dict[str, torch.Tensor]:
        """Every linear layer's weight as the kernel really applies it: bf16 [out, in] by engine module name, on the
        host, so that it may be asked of other processes."""
        with set_current_vllm_config(self.vllm_config), torch.no_grad():
            return {name: weight.cpu() for name, weight in effective_weights(self.model_runner.get_model()).items()}


def _input_dtype(layer: Any) -> torch.dtype:
    """What a layer multiplies with: bfloat16, but for the few that the engine keeps in fp32, such as GLM's router."""
    weight = getattr(layer, "weight", None)
    return weight.dtype if isinstance(weight, torch.Tensor) else torch.bfloat16


def effective_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights that linear layers apply, read back through the kernel: W = layer(identity)^T, b = layer(0).

    Each output of the product is one weight times 1 plus zeros, exact in any order of summation, so this reads the
    kernel's own dequantised values bit for bit, whatever its memory layout. Other parameters are returned as they are.
    """
    weights: dict[str, torch.Tensor] = {}
    inside_linear: set[str] = set()
    for name, layer in model.named_modules():
        module: Any = layer
        if cpu_experts.is_packed_experts(module):
            inside_linear.update(f"{name}.{p}" for p, _ in module.named_parameters())
            weights |= cpu_experts.expert_weights(name, module)
            continue
        is_head = isinstance(module, ParallelLMHead)
        if not isinstance(module, LinearBase) and not is_head:
            continue
        inside_linear.update(
            f"{name}.{p}" for p, _ in module.named_parameters() if p.startswith("weight") or p == "bias"
        )
        identity = torch.eye(input_width(module), dtype=_input_dtype(module), device=next(module.parameters()).device)
        assert module.quant_method is not None
        weights[f"{name}.weight"] = module.quant_method.apply(module, identity, bias=None).t().contiguous()
        if getattr(module, "bias", None) is not None:
            weights[f"{name}.bias"] = module.quant_method.apply(module, identity[:1] * 0, bias=module.bias)[0]
    for name, parameter in model.named_parameters():
        if name not in inside_linear:
            weights[name] = parameter.detach().clone()
    return weights
