"""An auxiliary loss that keeps experts evenly loaded, on the tokens that are learned from (`learner.router_aux`).

For layer l, over the N tokens of a minibatch that carry loss, with the experts M_tl that token t went to and the
router's scores s (of a softmax or, in DeepSeek-V3 and GLM, a sigmoid):

    f_le = 1/N sum_t 1{e in M_tl},     P_le = 1/N sum_t s_tle / sum_e' s_tle',     L_aux = 1/L sum_l E sum_e f_le P_le

It is K, the experts of a token, where all are loaded alike, and more where those that get more tokens also get more of
the scores. f is a constant, P has the gradient (Switch Transformer, arXiv 2101.03961, 2.2, for K experts as GShard).
transformers' `load_balancing_loss_func` is the same for one layer; it pools the layers, so that experts of the same
number in two layers even each other out, while here each layer is balanced by itself.

f is that of the whole minibatch, not of a micro-batch or a rank: else `learner.max_microbatch_tokens` would change what
is learned. It must be known before the first pass: routing replay knows it, since it knows where all tokens go.

Shape letters as in `rl.routing`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rl.batch import LearningSample
from rl.packing import MicroBatch

__all__ = ["balance_loss", "expert_load"]


def expert_load(samples: Sequence[LearningSample], num_experts: int) -> Tensor:
    """f, fp32 [L, E], of all samples of a minibatch: how many of its learned tokens went to each expert, over N."""
    rows = []
    for sample in samples:
        assert sample.routing is not None
        length = len(sample.prompt_ids)
        told = sample.routing.array()[length - 1 : length - 1 + len(sample.token_ids)]  # what predicts its tokens
        rows.append(told[np.array(sample.loss_mask, bool)[: len(told)]])
    experts_MLK = np.concatenate(rows)
    counts = [np.bincount(layer_MK.ravel(), minlength=num_experts) for layer_MK in experts_MLK.transpose(1, 0, 2)]
    return torch.tensor(np.array(counts) / max(len(experts_MLK), 1), dtype=torch.float32)


def balance_loss(
    scores: Sequence[Tensor], load_LE: Tensor, micro: MicroBatch, samples: Sequence[LearningSample], *, num_tokens: int
) -> Tensor:
    """A micro-batch's part of L_aux; the parts of a minibatch, on all ranks, add up to it.

    Args:
        scores: [F, E] of each of L layers, of this micro-batch.
        load_LE: `expert_load` of the minibatch.
        samples: the micro-batch's, in its order.
        num_tokens: that carry loss in the minibatch.
    """
    mask_M = torch.tensor([is_learned for sample in samples for is_learned in sample.loss_mask], dtype=torch.float32)
    weight_F = torch.zeros(len(scores[0])).index_add_(0, micro.places(), mask_M)
    weight_F = weight_F.to(scores[0].device)
    total = torch.zeros((), device=scores[0].device)
    for scores_FE, load_E in zip(scores, load_LE.to(scores[0].device), strict=True):
        shares_FE = scores_FE.float() / scores_FE.float().sum(dim=-1, keepdim=True)
        total = total + len(load_E) * (load_E @ (weight_F @ shares_FE))
    return total / (len(scores) * max(num_tokens, 1))
