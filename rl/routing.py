"""Routing replay: the learner sends each token to the experts that the engine sent it to (R3, arXiv 2510.11370).

A router's scores are close for some tokens, and then rounding decides which experts they go to: engine and learner,
with the same weights to the last bit, take different paths, and their log-probabilities part by more than by rounding.
With `learner.replay_routing` the engine tells which experts it chose (rollout/engine/routing.py), and the learner
computes with those. For token t and layer l, with the router's scores s of all E experts and the engine's choice M_tl:

    g_te = s_te / sum over e' in M_tl of s_te'   for e in M_tl, 0 for all others

in place of the same with the learner's own top k. Only the choice is replayed, as in the paper: the weights g are those
of the learner's router, so its gradient is that of a router whose choice is M_tl. Every pass over a sample replays:
log pi_old, the reference's, updates, and what gradient checkpointing computes again. Curated conversations were routed
by nobody, and are routed by the learner.

*Prompts* are replayed as well, for responses attend to what they left in the cache. An engine computes a prompt once
and siblings read the same cache, as the learner packs them behind one prefix (`rl.packing`): the experts of a prompt
are those that the newest weights chose for any of its siblings, wherever they are packed; of what all rows of a
micro-batch begin with, those of its first row. Engines on CPUs compute the same for the same tokens and weights, and a
group's last response ended under the weights that the step began with. So all rows agree, however they are packed,
but for a context that older weights alone saw: where that response is masked, or was rewritten since.

*Several segments.* What counts is the last pass of the engine that a response was sampled behind: of a partial rollout
that is the newest weights', which computed the tokens before it again; of a turn of an episode, that of its context.

Shape letters: F tokens of a micro-batch, as `rl.packing.folded` lines them up; L layers with routed experts; K experts
of a token; E all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rl.batch import LearningSample
from rl.packing import MicroBatch, folded

__all__ = ["RoutingReplay", "check_replay", "newest_siblings", "routing_of"]

Forward = Callable[[MicroBatch, Tensor | None], Tensor]


_SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "Qwen3MoeTopKRouter": partial(torch.softmax, dim=-1, dtype=torch.float32),
    "MixtralTopKRouter": partial(torch.softmax, dim=-1, dtype=torch.float32),
    "DeepseekV3TopkRouter": torch.sigmoid,
    "Glm4MoeTopkRouter": torch.sigmoid,
}
"""A router of transformers -> its scores, of its logits [F, E].

Each returns (logits [F, E], weights [F, K], experts [F, K]). How experts are chosen, with groups and biases, is not
repeated here: a choice is replayed."""


def _weights(router: Any, scores_FE: Tensor, experts_FK: Tensor) -> Tensor:
    """[F, K]: what a router gives experts that others chose, as transformers computes it for those that it chose."""
    weights_FK = scores_FE.gather(1, experts_FK)
    if getattr(router, "norm_topk_prob", True):  # Mixtral's always are
        weights_FK = weights_FK / (weights_FK.sum(dim=-1, keepdim=True) + 1e-20)
    return weights_FK * getattr(router, "routed_scaling_factor", 1.0)


def routers_of(model: Any) -> list[Any]:
    """The routers of a transformers model whose choice can be replaced, by layer."""
    return [module for module in model.modules() if type(module).__name__ in _SCORES]


def check_replay(model: Any, *, on_cpu: bool) -> None:
    """Refuse what `learner.replay_routing` cannot do.

    Args:
        model: transformers', perhaps on the meta device.
        on_cpu: whether engines run on CPUs.

    Raises:
        ValueError: says which and why.
    """
    told = "learner.replay_routing = true"
    if not any(type(module).__name__.endswith("Experts") for module in model.modules()):
        raise ValueError(f"{told}: {type(model).__name__} has no routed experts; leave it out")
    if not routers_of(model):
        raise ValueError(
            f"{told}: {type(model).__name__} has routers that are not known here ({', '.join(sorted(_SCORES))} are); "
            "leave it out"
        )
    if not on_cpu:
        raise ValueError(
            f"{told}: experts are read off the KV connector of CPU engines, and engines on GPUs have none here; leave "
            "it out"
        )


def newest_siblings(samples: Sequence[LearningSample]) -> dict[tuple[int, tuple[int, ...]], LearningSample]:
    """The sample behind each context of a group that the newest weights routed; the first of several."""
    oldest_first = sorted(samples, key=lambda sample: (sample.routed_by, -sample.number))
    return {(sample.group, sample.prompt_ids): sample for sample in oldest_first}


def routing_of(
    micro: MicroBatch,
    samples: Sequence[LearningSample],
    newest: Mapping[tuple[int, tuple[int, ...]], LearningSample],
) -> Tensor:
    """int16 [R, S, L, K]: the experts of each token of a micro-batch, -1 for the learner's own choice.

    That is: padding, and the last token of a response, behind which nothing is predicted.

    Args:
        samples: the micro-batch's, in its order.
        newest: `newest_siblings` of all samples that are packed together.
    """
    arrays = [_experts(sample) for sample in samples]
    (shape,) = {array.shape[1:] for array in arrays}
    found = np.full((*micro.input_ids.shape, *shape), -1, np.int16)
    rows, columns, index = (part.numpy() for part in (micro.rows, micro.columns, micro.sample_index))
    in_row: dict[int, LearningSample] = {}
    for i, (sample, array) in enumerate(zip(samples, arrays, strict=True)):
        mine, length = index == i, len(sample.prompt_ids)
        told = array[length - 1 : length - 1 + len(sample.token_ids)]  # the positions that predict its tokens
        row = int(rows[mine][0])
        found[row, columns[mine][: len(told)]] = told
        in_row[row] = sample
    for row, sample in in_row.items():
        length = len(sample.prompt_ids)
        found[row, :length] = _experts(newest[sample.group, sample.prompt_ids])[:length]
    return torch.from_numpy(found)


def _experts(sample: LearningSample) -> np.ndarray:
    assert sample.routing is not None, "a sample without the experts that the engine chose"
    return sample.routing.array()


class RoutingReplay:
    """The routers of the learner's model, and what they replay in the pass at hand.

    Args:
        model: transformers'; its routers get a hook each.
        keeps_scores: whether `scores` will be asked for.
    """

    def __init__(self, model: Any, *, keeps_scores: bool = False) -> None:
        self._keeps_scores = keeps_scores
        self._experts_FLK: Tensor | None = None
        self._routers = routers_of(model)
        self._flipped: dict[int, Tensor] = {}
        self._scores: dict[int, Tensor] = {}
        for layer, router in enumerate(self._routers):
            router.register_forward_hook(partial(self._replay, layer))

    def around(self, forward: Forward, device: torch.device) -> Forward:
        """The same pass, through the experts of its micro-batch's `routing`, until the next one begins.

        The backward pass belongs to it: layers that it computes again find the same experts.
        """

        def replayed(micro: MicroBatch, temperatures_M: Tensor | None) -> Tensor:
            self._experts_FLK = None
            self._scores.clear()
            if micro.routing is not None:
                assert micro.routing.shape[2] == len(self._routers), "engine and learner have other layers"
                self._experts_FLK = folded(micro.routing, micro.num_shared)[0].to(device)
            return forward(micro, temperatures_M)

        return replayed

    def flips(self) -> tuple[Tensor, int]:
        """Of the last pass: (token, layer) pairs whose set of experts the learner would not have chosen; and all."""
        assert self._experts_FLK is not None
        num = int((self._experts_FLK[:, 0, 0] >= 0).sum()) * len(self._routers)
        return torch.stack([self._flipped[layer] for layer in range(len(self._routers))]).sum(), num

    def scores(self) -> list[Tensor]:
        """[F, E] of every layer, of the last pass, as the gradient sees them."""
        return [self._scores[layer] for layer in range(len(self._routers))]

    def _replay(self, layer: int, router: Any, args: Any, output: tuple[Tensor, Tensor, Tensor]) -> Any:
        if self._experts_FLK is None:
            return None
        logits_FE, weights_FK, own_FK = output
        told_FK = self._experts_FLK[:, layer].long()
        experts_FK = torch.where(told_FK >= 0, told_FK, own_FK)
        is_same_FK = experts_FK.sort(dim=-1).values == own_FK.sort(dim=-1).values
        self._flipped[layer] = (~is_same_FK.all(dim=-1)).sum()
        scores_FE = _SCORES[type(router).__name__](logits_FE)
        if self._keeps_scores:
            self._scores.setdefault(layer, scores_FE)  # not what the backward pass computes again
        return logits_FE, _weights(router, scores_FE, experts_FK).to(weights_FK.dtype), experts_FK
