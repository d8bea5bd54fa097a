"""Siblings share their prompt: it is prefilled once, and the others copy what they need of it.

K samples of one task have the same prompt. vLLM's prefix cache shares whole blocks of a prompt, and only with requests
that come after the one that computed them; on a CPU a block has at least 32 tokens, so short prompts share nothing and
siblings that start together prefill K times. This is vLLM's own plug-in point for a KV cache that comes from elsewhere
(a "KV connector"), where elsewhere is another request on the same engine:

- the first request with a prompt is its *leader* and is prefilled as ever;
- requests with the same prompt wait one step, then copy the leader's blocks that the prefix cache does not cover, and
  compute the last prompt token alone (its logits draw their first token).

A copy is exact, and what an engine computes for a token does not depend on what else is in its batch, so a sample has
the same bits with and without a leader (tests/integration/test_engine.py). Blocks are copied while the leader holds
them: when it has ended, or was preempted, the next request with that prompt becomes a leader. No memory is kept.
Latent attention (MLA) shares nothing: it computes a prompt's tokens in one way and a single token in another, so the
last prompt token of a sibling would get other bits than its leader's.

The scheduler's half decides, the worker's half copies; between them travels `Copies`. The worker's half keeps no state,
because vLLM makes it once for a process, whatever number of engines that has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorBase_V1, KVConnectorMetadata, KVConnectorRole
from vllm.v1.kv_cache_interface import FullAttentionSpec, MLAAttentionSpec
from vllm.v1.request import RequestStatus

from rollout.engine.routing import RoutingTable

__all__ = ["Copies", "SharedPrompts"]


@dataclass
class Copies(KVConnectorMetadata):
    """Blocks to copy before the next forward pass, in every layer."""

    sources: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Leader:
    """The request that prefills, or has prefilled, a prompt."""

    request_id: str
    blocks: tuple[int, ...] = ()
    """Ids of its blocks; empty until it was scheduled."""
    is_ready: bool = False
    """Its prefill is done: it was scheduled in an earlier step."""


class SharedPrompts(KVConnectorBase_V1):
    """See the head of this file. vLLM makes one for its scheduler and one for its worker."""

    def __init__(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any = None) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        groups = kv_cache_config.kv_cache_groups
        spec = groups[0].kv_cache_spec if len(groups) == 1 else None
        self._is_sharing = isinstance(spec, FullAttentionSpec) and not isinstance(spec, MLAAttentionSpec)
        self._block_size = vllm_config.cache_config.block_size
        self._leaders: dict[tuple[int, ...], _Leader] = {}
        self._copies = Copies()
        self.num_prefilled_tokens = 0
        """Prompt tokens computed since the start; copied and cached ones are not."""
        self.num_preemptions = 0
        """How often a request lost its blocks to others since the start."""
        self.routing: RoutingTable | None = None
        """Whose rows follow the blocks, and are read when a request ends."""

    # -- the scheduler's half -----------------------------------------------------------------------------------------

    @property
    def requires_kv_delivery(self) -> bool:
        """False: a prompt that is not copied is computed."""
        return False

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int | None, bool]:
        """How many prompt tokens beyond the cached ones can be copied; None: ask again in the next step."""
        leader = self._leaders.get(tuple(request.prompt_token_ids))
        if not self._is_sharing or leader is None or request.num_output_tokens:
            return 0, False
        if not leader.is_ready:
            return None, False
        return max(request.num_prompt_tokens - 1 - num_computed_tokens, 0), False

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        """A request was admitted to this step with its blocks: as a leader, or as one who copies."""
        if not self._is_sharing or request.num_output_tokens:
            return
        prompt = tuple(request.prompt_token_ids)
        own = tuple(blocks.get_block_ids()[0])
        if num_external_tokens:
            end = request.num_prompt_tokens - 1
            covered = range((end - num_external_tokens) // self._block_size, (end - 1) // self._block_size + 1)
            source = self._leaders[prompt].blocks
            self._copies.sources += [source[i] for i in covered]
            self._copies.targets += [own[i] for i in covered]
        elif prompt not in self._leaders:
            self._leaders[prompt] = _Leader(request_id=request.request_id, blocks=own)

    def build_connector_meta(self, scheduler_output: Any) -> Copies:
        """The end of scheduling a step: whoever was admitted as a leader is prefilled by it."""
        preempted = scheduler_output.preempted_req_ids or ()
        self.num_preemptions += len(preempted)
        self._leaders = {p: leader for p, leader in self._leaders.items() if leader.request_id not in preempted}
        for leader in self._leaders.values():
            leader.is_ready = True
        for new in scheduler_output.scheduled_new_reqs:
            self.num_prefilled_tokens += scheduler_output.num_scheduled_tokens[new.req_id]
        copies, self._copies = self._copies, Copies()
        if self.routing is not None and copies.sources:
            self.routing.copy(copies.sources, copies.targets)
        return copies

    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        """A request's blocks, perhaps a leader's, are about to be given away."""
        if self.routing is not None:
            is_aborted = request.status == RequestStatus.FINISHED_ABORTED
            num_tokens = request.num_computed_tokens
            self.routing.finish(request.request_id, block_ids, num_tokens=num_tokens, is_aborted=is_aborted)
        prompt = tuple(request.prompt_token_ids)
        leader = self._leaders.get(prompt)
        if leader is not None and leader.request_id == request.request_id:
            del self._leaders[prompt]
        return False, None

    # -- the worker's half --------------------------------------------------------------------------------------------

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Copy blocks in every layer, before the forward pass that reads them."""
        copies = self._get_connector_metadata()
        assert isinstance(copies, Copies)
        if not copies.sources:
            return
        caches = [layer.kv_cache for layer in forward_context.no_compile_layers.values() if hasattr(layer, "kv_cache")]
        sources = torch.tensor(copies.sources, device=caches[0].device)
        targets = torch.tensor(copies.targets, device=caches[0].device)
        for cache in caches:
            cache[targets] = cache[sources]

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Copies are done when `start_load_kv` returns."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """Nothing leaves the cache."""

    def wait_for_save(self) -> None:
        """Nothing leaves the cache."""
