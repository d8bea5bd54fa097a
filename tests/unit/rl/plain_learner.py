"""A learner of the tiny model, and the second method that its updates are held against.

`plain_update` knows no packing, no micro-batches and no hooks: one sequence after the other through a copy of the model
that holds the same weights.
"""

from __future__ import annotations

import copy
import dataclasses
import math

import torch
from transformers import AutoModelForCausalLM

from rl.batch import LearningSample, Minibatch
from rl.learner import Learner, LearnerSettings
from rl.ptx import PtxSample
from tests.rounding import rounding

ROUNDINGS = 2 * (64 + 32 + 64 + 64 + 64 + 96) + 64 + 32
"""In a row, in the tiny model: two layers (projections, scores, attention, output, gate, down), head, log_softmax."""
LOGPROB = rounding(ROUNDINGS, size=6.0, dtype=torch.float32)
"""Tolerance of a log-probability, none of which is below -6 here."""
LOSS = 2 * LOGPROB
"""Of means of log-probabilities, with weights up to 2 that are exponentials of some; relative for norms."""

PTX = (
    PtxSample(prefix=(2, 3), token_ids=(4, 5, 0), loss_mask=(True, True, True)),
    PtxSample(prefix=(6,), token_ids=(7, 8, 9, 0), loss_mask=(True, False, True, True)),
)


def make(settings: LearnerSettings, **changes) -> Learner:
    return Learner(dataclasses.replace(settings, **changes))


def sample(number: int, group: int, length: int, advantage: float, **changes) -> LearningSample:
    token_ids = tuple((number * 5 + 3 * t) % 16 + 2 for t in range(length))
    facts = {
        "number": number,
        "group": group,
        "prompt_ids": (2 + group, 9, 4)[: 3 - group],
        "token_ids": token_ids,
        "loss_mask": (True,) * length,
        "engine_logprobs": tuple(-2.5 - 0.3 * ((number + t) % 4) for t in range(length)),
        "temperatures": (0.8,) * length,
        "advantage": advantage,
    }
    return LearningSample(**(facts | changes))


def minibatch(index: int = 0) -> Minibatch:
    """Two groups of unlike lengths; one sample with an observation and two temperatures; one sample was dropped."""
    samples = (
        sample(0, 0, 5, 0.5),
        sample(1, 0, 2, -0.25),
        sample(2, 0, 7, -0.25),
        sample(4 + index, 1, 4, 0.75, loss_mask=(True, False, False, True), temperatures=(1.0, 1.0, 0.6, 0.6)),
        sample(6 + index, 1, 3, -0.75),
    )
    return Minibatch(index=index, samples=samples, num_samples=6, num_tokens=23)


def plain_copy(learner: Learner):
    """A model of its own with the weights of the learner's forward pass."""
    plain = AutoModelForCausalLM.from_config(copy.deepcopy(learner.model.config)).float().eval()
    plain.load_state_dict({name: value.float() for name, value in learner.model.state_dict().items()})
    return plain


def plain_logprobs(model, prefix, token_ids, temperatures) -> torch.Tensor:
    logits = model(input_ids=torch.tensor([[*prefix, *token_ids]])).logits[0, len(prefix) - 1 : -1]
    logprobs = (logits / torch.tensor(temperatures)[:, None]).log_softmax(-1)
    return logprobs[torch.arange(len(token_ids)), torch.tensor(token_ids)]


def plain_update(learner: Learner, batch: Minibatch, ptx=()) -> tuple[float, float, dict[str, torch.Tensor]]:
    """Policy loss, PTX loss and the gradient of their weighted sum, as the formulas say."""
    model, s = plain_copy(learner), learner.settings
    policy = torch.zeros(())
    for one in batch.samples:
        logprobs = plain_logprobs(model, one.prompt_ids, one.token_ids, one.temperatures)
        old, mask = torch.tensor(one.old_logprobs), torch.tensor(one.loss_mask).float()
        weights = torch.ones_like(old)
        if s.mismatch.correction == "token_cap":
            weights = (old - torch.tensor(one.engine_logprobs)).exp().clamp(max=s.mismatch.high)
        elif s.mismatch.correction == "policy_band":
            log_band = (logprobs.detach() - torch.tensor(one.engine_logprobs)) / math.log(s.mismatch.high)
            weights = ((log_band <= 1) & (log_band >= -1)).float()  # low is 1 / high here
        log_ratio = (logprobs - old) * mask
        if s.loss == "k2_seq":
            pull = one.advantage - s.tau * log_ratio.sum().detach()
            policy = policy - pull * (weights * mask * logprobs).sum() / batch.num_samples
        else:
            inside = (log_ratio.detach() >= s.clip_low) & (log_ratio.detach() <= s.clip_high)
            gain = inside * mask * weights * log_ratio.exp() * one.advantage
            squared = log_ratio.square() if s.squared_over == "all" else inside * log_ratio.square()
            policy = policy + (s.tau * squared - gain).sum() / batch.num_tokens
    nll = torch.zeros(())
    num_tokens = sum(sum(one.loss_mask) for one in ptx)
    for one in ptx:
        logprobs = plain_logprobs(model, one.prefix, one.token_ids, (1.0,) * len(one.token_ids))
        nll = nll - (logprobs * torch.tensor(one.loss_mask)).sum() / num_tokens
    (policy + s.ptx_coef * nll).backward()
    return policy.item(), nll.item(), {name: p.grad for name, p in model.named_parameters()}


def norm_of(gradient: dict[str, torch.Tensor]) -> float:
    return math.sqrt(sum(g.square().sum().item() for g in gradient.values()))


def published(learner: Learner) -> bytes:
    return learner.publish(0).buffer.tobytes()


def equal_masters(one, other) -> bool:
    return all(torch.equal(master, other.masters.parameters[name]) for name, master in one.masters.parameters.items())
