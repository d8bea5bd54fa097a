"""Which experts an engine routed each token to: noted beside the KV cache, slot by slot, and read when a response ends.

vLLM 0.32 returns routed experts by itself (`enable_return_routed_experts`), but only from its second model runner,
which it does not take on CPUs, and not of prompt tokens that a KV connector brought. What it offers is the hook that
its own recorder hangs on: a router calls `capture_fn` with the experts it chose. `RoutingTable` hangs there too, and
writes them at the slot of the KV cache that the token's keys and values go to. So a token that is not computed again
has the experts that its keys and values were computed with:

- a prompt that the prefix cache holds: its blocks, and so its rows, are those of who computed it;
- a prompt that siblings copy (rollout/engine/shared_prompts.py): rows are copied as blocks are;
- a response that was preempted is computed again, and written again.

A row that was not written under the weights that are served is an error, never an answer: a swap forgets all rows.
Kernels that choose experts within themselves are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rollout.engine.states import EngineBroken
from rollout.routing import Routing

__all__ = ["RoutingTable"]


class RoutingTable:
    """The experts of every slot of an engine's KV cache.

    Args:
        model: vLLM's, in this process.
        num_blocks, block_size: of its KV cache.

    Raises:
        ValueError: its layers do not tell which experts they choose.
    """

    def __init__(self, model: Any, *, num_blocks: int, block_size: int) -> None:
        found = [m for m in model.modules() if hasattr(getattr(m, "router", None), "set_capture_fn")]
        if not found or any(m.is_monolithic for m in found):
            raise ValueError(
                f"learner.replay_routing = true: vLLM's {type(model).__name__} has no routers, or kernels that choose "
                "experts within themselves and do not tell; set it to false"
            )
        routers = [m.router for m in found]
        self._experts = torch.full((num_blocks, block_size, len(routers), routers[0].top_k), -1, dtype=torch.int16)
        self._by_slot = self._experts.flatten(0, 1)
        self._wanted: dict[str, str] = {}
        self._found: dict[str, Routing] = {}
        for layer, router in enumerate(routers):
            router.set_capture_fn(partial(self._write, layer))

    def _write(self, layer: int, experts: Tensor) -> None:
        """Experts [N, top_k] that a layer chose for the tokens of the pass at hand."""
        from vllm.forward_context import get_forward_context

        mapping: Any = get_forward_context().slot_mapping
        if mapping:  # none in the passes by which vLLM warms up
            slots = next(iter(mapping.values())).long()
            self._by_slot[slots, layer] = experts[: len(slots)].to(torch.int16)

    def forget(self) -> None:
        """Forget all rows: no block is in use, and what is cached belonged to other weights."""
        self._experts.fill_(-1)

    def copy(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Rows of blocks go where the blocks go."""
        self._experts[list(targets)] = self._experts[list(sources)]

    def want(self, sample_id: str, request_id: str) -> None:
        """The experts of a sample are to be read when vLLM's request of that id ends."""
        self._wanted[request_id] = sample_id

    def finish(self, request_id: str, block_ids: Sequence[int], *, num_tokens: int, is_aborted: bool) -> None:
        """A request's blocks are about to be given away: read the rows of the tokens that were computed."""
        sample_id = self._wanted.pop(request_id, None)
        if sample_id is None or is_aborted:
            return
        rows = self._experts[list(block_ids)].flatten(0, 1)[:num_tokens]
        if len(rows) < num_tokens or bool((rows < 0).any()):
            raise EngineBroken(
                f"learner.replay_routing = true: some of the {num_tokens} tokens of {sample_id!r} went to experts that "
                "this engine did not note; set it to false"
            )
        self._found[sample_id] = Routing.of(rows.numpy())

    def take(self, sample_id: str) -> Routing:
        """What was read of a sample, once."""
        return self._found.pop(sample_id)
