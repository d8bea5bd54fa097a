"""A model's pass over a micro-batch: from tokens to the log-probability of each, and the proof that it is the model's.

The head is applied at predicting positions only, in chunks (`rl.logprobs`), behind the base model. So a model has to be
head(base(ids)) with a plain linear head, and its attention has to honour the tree mask; `check_model` proves both on a
few tokens before anything is learned.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rl.logprobs import token_logprobs
from rl.packing import MicroBatch, Tree, folded, pack
from rollout.quant.grid import check_finite

__all__ = ["check_model", "checkpoint_layers", "layers_of", "logprobs"]

ROUNDING = 1e-3
"""Of the logits' spread: what fp32 may round. SmolLM2's 30 layers come to 3e-6, of two layers of any family to 5e-7.

A cap of 50 on SmolLM2's scores moves its logits by .009, and bf16 rounds them by .065."""


def logprobs(model: Any, batch: MicroBatch, temperatures_M: Tensor | None = None) -> Tensor:
    """[n, T] fp32 log-probabilities of a micro-batch's tokens, at each token's temperature; 0 in the padding."""
    head, device = model.get_output_embeddings(), model.device
    temperatures_M = None if temperatures_M is None else temperatures_M.to(device)
    found_M = token_logprobs(
        hidden_states(model, batch), head.weight, head.bias, batch.targets.to(device), temperatures_M
    )
    return batch.scatter(found_M)


def hidden_states(model: Any, batch: MicroBatch) -> Tensor:
    """[M, H] last hidden states at the positions that predict a token."""
    shared, device = batch.num_shared, model.device
    hidden_1FH = model.base_model(
        input_ids=folded(batch.input_ids, shared).to(device),
        attention_mask=batch.branches[:, None, None].to(device),  # read by rl.attention
        position_ids=folded(batch.position_ids, shared).to(device),
        use_cache=False,
    ).last_hidden_state
    return hidden_1FH[0, batch.places()]


def layers_of(model: Any) -> list[Any]:
    """The decoder layers of a transformers model: what is computed again in a backward pass, and cut between ranks."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.base_model.modules() if isinstance(module, GradientCheckpointingLayer)]


def checkpoint_layers(model: Any) -> None:
    """Let every layer keep its input alone, and be computed again in the backward pass; changes no bit.

    transformers would do it in training mode, which also turns dropout on; the learner's model stays in eval mode.

    Raises:
        ValueError: the model has no layers that are made for it.
    """
    layers = layers_of(model)
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no layers of transformers' GradientCheckpointingLayer: set "
            "learner.gradient_checkpointing = false"
        )
    for layer in layers:
        # Nothing is drawn at random in eval mode, so there is no generator to set back.
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)


def check_model(model: Any) -> None:
    """Prove on a few tokens that head(base(ids)) is the model, and that a tree's branches are blind to each other.

    The reference is transformers' own pass with its plainest attention ("eager"), which has all that a model asks for:
    caps, sinks, biases. In fp32 what is left between the two is rounding (`ROUNDING`), in bf16 more than a cap does.

    Args:
        model: with fp32 parameters; its attention is `rl.attention`'s.

    Raises:
        ValueError: a weight is NaN or infinite, the head is no plain linear map, the model scales or caps its logits
            outside its head, or it has layers that ignore the tree mask.
    """
    for name, parameter in model.named_parameters():
        check_finite(name, parameter.detach())
    head = model.get_output_embeddings()
    if not _is_plain_linear(head):
        raise ValueError(
            f"{type(model).__name__} has a {type(head).__name__} for a head; the learner computes log-probabilities in "
            "chunks behind a plain torch.nn.Linear (weight and bias, no hooks): this model cannot be trained here"
        )
    problems = [_difference(model, tokens) for tokens in _probes(model)]
    if all(problems):
        raise ValueError(problems[0])


def _probes(model: Any) -> list[tuple[int, ...]]:
    """Ten tokens over the vocabulary; of a model with experts several such sets, of which one has to agree.

    Rounding may send a token whose router is undecided to another expert, and then it differs by more than rounding.
    What is wrong with a model is wrong for every set.
    """
    has_experts = any(type(module).__name__.endswith("Experts") for module in model.modules())
    size, count = int(model.config.get_text_config().vocab_size), 10
    shifts = range(8 if has_experts else 1)
    return [tuple((size * (2 * i + 1) // 20 + shift * size // 97) % size for i in range(count)) for shift in shifts]


def _difference(model: Any, tokens: tuple[int, ...]) -> str | None:
    """What the learner would compute in another way than the model, None if nothing."""
    prefix, branches = tokens[:3], (tokens[3:7], tokens[7:])
    with torch.no_grad():
        micro = pack([Tree(prefix=prefix, continuations=branches[:1], ids=(0,))], max_tokens=64)[0]
        own = _own_logits(model, micro.input_ids.to(model.device))[micro.columns]
        ours = _logits(model, micro)
        if not _agree(own, ours):
            return (
                f"{type(model).__name__} computes its logits in another way than head(base(ids)): off by "
                f"{(own - ours).abs().max():.3g}; models that scale or cap logits or attention scores are not supported"
            )
        alone = [Tree(prefix=prefix, continuations=(b,), ids=(i,)) for i, b in enumerate(branches)]
        expected = torch.cat([_logits(model, pack([tree], max_tokens=64)[0]) for tree in alone])
        for trees in ([Tree(prefix=prefix, continuations=branches, ids=(0, 1))], alone):  # in one row, and in two
            found = _logits(model, pack(trees, max_tokens=64)[0])
            if not _agree(expected, found):
                return (
                    f"{type(model).__name__} does not keep siblings apart under a tree mask: off by "
                    f"{(expected - found).abs().max():.3g}; sliding windows and recurrent layers are not supported"
                )
    return None


def _own_logits(model: Any, ids_1S: Tensor) -> Tensor:
    """[S, V] of a few tokens, as transformers computes them."""
    ours = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        return model(input_ids=ids_1S, use_cache=False).logits[0]
    finally:
        model.set_attn_implementation(ours)


def _logits(model: Any, batch: MicroBatch) -> Tensor:
    """[M, V] of a few tokens, as the learner computes them."""
    return model.get_output_embeddings()(hidden_states(model, batch))


def _is_plain_linear(head: Any) -> bool:
    """Whether the head is its weight and bias and nothing else."""
    return (
        isinstance(head, nn.Linear)
        and type(head).forward is nn.Linear.forward
        and "forward" not in vars(head)
        and not head._forward_hooks
        and not head._forward_pre_hooks
    )


def _agree(expected: Tensor, found: Tensor) -> bool:
    """[M, V] fp32 logits that differ by rounding only: their root mean square against the logits' spread over V."""
    spread = (expected - expected.mean(dim=1, keepdim=True)).square().mean().sqrt()
    return bool((expected - found).square().mean().sqrt() <= ROUNDING * spread)
