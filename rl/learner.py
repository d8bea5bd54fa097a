"""The learner: a transformers model on the INT4 grid, its fp32 masters, and one update at a time.

A plain class; `rl.cluster` puts it into its own process. It sees batches, never tasks or rewards, and hands out packed
weights, never gradients. Losses of micro-batches add up to the loss of the minibatch, so `max_microbatch_tokens` bounds
memory and changes nothing else. Dropout is off for good: the model stays in eval mode.

What a pass over a micro-batch is, and which models it is right for, is in `rl.forward`.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rl.attention import attention_name
from rl.batch import LearningSample, Minibatch
from rl.curated import PtxBatch
from rl.forward import check_model, checkpoint_layers, logprobs
from rl.kept import Kept
from rl.loss import Aggregation, LossInputs, PolicyLoss, negative_log_likelihood
from rl.mismatch import Mismatch, mismatch_weights
from rl.objective import objective
from rl.optim import Optimizer
from rl.packing import MicroBatch, Tree, pack
from rl.ptx import PtxSample
from rl.qat import Masters
from rl.qk_clip import QKClip
from rl.reference import Estimator, ReferenceKL, reference_kl
from rl.update import UpdateMetrics
from rollout.quant.checkpoint import packed_tensors, write_int4_folder
from rollout.quant.scheme import QuantScheme
from rollout.weights.contract import WeightArtefact
from rollout.weights.sender import build_artefact

__all__ = ["Learner", "LearnerSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerSettings:
    """What a learner is started with; the fields are those of `learner.*`, `quant.*` and `ptx.coef` in the config."""

    model_folder: Path
    scheme: QuantScheme
    fake_quantize: bool
    compute_dtype: Literal["bfloat16", "float32"]
    loss: str
    """What `rl.objective.objective` takes."""
    aggregation: Aggregation | None
    tau: float
    clip_low: float
    clip_high: float
    mismatch: Mismatch
    optimizer: Literal["adamw", "muon"]
    momentum: float
    betas: tuple[float, float]
    qk_clip: float | None
    reset_optimizer: bool
    ema_decay: float | None
    reference_coef: float
    reference_estimator: Estimator
    weight_decay: float
    max_grad_norm: float
    max_microbatch_tokens: int
    gradient_checkpointing: bool
    ptx_coef: float


class Learner:
    """Holds theta, its optimiser, and its image on the grid.

    Raises:
        ValueError: a model whose shapes, head or attention this learner cannot train; says which and why.
    """

    def __init__(self, settings: LearnerSettings) -> None:
        from transformers import AutoModelForCausalLM

        self.settings = settings
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = AutoModelForCausalLM.from_pretrained(
            str(settings.model_folder), dtype=torch.float32, attn_implementation=attention_name()
        )
        self.model: Any = model.to(self.device).eval()
        self.model.config.use_cache = False
        self.masters = Masters(
            self.model,
            settings.scheme,
            compute_dtype=getattr(torch, settings.compute_dtype),
            fake_quantize=settings.fake_quantize,
        )
        self.optimizer = self._new_optimizer()
        check_model(self.model)
        self.qk_clip = None if settings.qk_clip is None else QKClip(self.model, settings.qk_clip)
        self.kept = self._new_kept()
        if settings.gradient_checkpointing:
            checkpoint_layers(self.model)

    def _new_kept(self) -> Kept:
        s = self.settings
        return Kept(self.model, self.masters.parameters, is_referred=s.reference_coef > 0, ema_decay=s.ema_decay)

    def _new_optimizer(self) -> Optimizer:
        s = self.settings
        return Optimizer(
            self.masters.parameters, self.model,
            kind=s.optimizer, betas=s.betas, weight_decay=s.weight_decay, momentum=s.momentum,
        )  # fmt: skip

    # -- log-probabilities --------------------------------------------------------------------------------------------

    def add_old_logprobs(self, minibatches: Sequence[Minibatch]) -> tuple[Minibatch, ...]:
        """The minibatches with log pi_old of every sample, computed in the very micro-batches of the updates.

        A step's first minibatch needs none: it is updated from theta_old itself, so its own pass gives the same bits.
        """
        return tuple(self._with_old_logprobs(minibatch) for minibatch in minibatches)

    @torch.no_grad()
    def _with_old_logprobs(self, minibatch: Minibatch) -> Minibatch:
        found: dict[int, tuple[float, ...]] = {}
        for micro, samples in self._micro_batches(minibatch):
            logprobs_NT = logprobs(self.model, micro, _per_token([s.temperatures for s in samples]))
            for row, sample in zip(logprobs_NT.tolist(), samples, strict=True):
                found[sample.number] = tuple(row[: len(sample.token_ids)])
        return replace(minibatch, samples=tuple(replace(s, old_logprobs=found[s.number]) for s in minibatch.samples))

    def _micro_batches(self, minibatch: Minibatch) -> Iterator[tuple[MicroBatch, list[LearningSample]]]:
        by_group: dict[int, list[LearningSample]] = {}
        for sample in minibatch.samples:
            by_group.setdefault(sample.group, []).append(sample)
        by_number = {sample.number: sample for sample in minibatch.samples}
        trees = [
            Tree(
                prefix=siblings[0].prompt_ids,
                continuations=tuple(s.token_ids for s in siblings),
                ids=tuple(s.number for s in siblings),
            )
            for siblings in by_group.values()
        ]
        for micro in pack(trees, max_tokens=self.settings.max_microbatch_tokens):
            yield micro, [by_number[number] for number in micro.ids]

    # -- updates ------------------------------------------------------------------------------------------------------

    def update(self, minibatch: Minibatch, ptx: Sequence[PtxSample], *, lr: float) -> UpdateMetrics:
        """One optimiser update: policy loss of the minibatch plus ptx_coef times the PTX loss, through the grid.

        Args:
            minibatch: samples with `old_logprobs`; without them, theta is theta_old and this pass gives them.
            ptx: conversations for this update, or a `PtxBatch` of them; ignored where the weight is 0.
            lr: learning rate, >= 0.
        """
        started = time.perf_counter()
        if self.settings.reset_optimizer and minibatch.index == 0:
            self.optimizer = self._new_optimizer()
        micro_batches = self._micro_batches(minibatch)
        parts = [self._backward_policy(micro, samples, minibatch) for micro, samples in micro_batches]
        losses = [part.loss for part in parts]
        heldout = ptx.heldout if isinstance(ptx, PtxBatch) else ()
        heldout_loss = self.ptx_loss(heldout) if heldout else None
        coef = self.settings.ptx_coef * (ptx.scale if isinstance(ptx, PtxBatch) else 1.0)
        use_ptx = bool(ptx) and coef > 0
        ptx_loss = self._backward_ptx(ptx, coef=coef) if use_ptx else 0.0
        qk_max_logit = None if self.qk_clip is None else self.qk_clip.max_logit()
        grad_norm, update_size = self._optimizer_step(lr) if losses or use_ptx else (0.0, 0.0)
        self.kept.updated()
        num_tokens = sum(map(_num_loss_tokens, minibatch.samples))
        count = len(minibatch.samples) if objective(self.settings.loss).counts_samples else num_tokens
        total = _sum_losses(losses)
        return UpdateMetrics(
            policy_loss=total.loss.item(),
            ptx_loss=ptx_loss,
            ptx_coef=coef if use_ptx else 0.0,
            ptx_heldout_loss=heldout_loss,
            qk_max_logit=qk_max_logit,
            reference_kl=math.fsum(p.reference_kl.item() for p in parts) if parts and self.kept.reference else None,
            grad_norm=grad_norm,
            learning_rate=lr,
            update_size=update_size,
            log_ratio_mean=total.log_ratio_sum.item() / max(count, 1),
            log_ratio_std=math.sqrt(total.log_ratio_square_sum.item() / max(count, 1)),
            clipped_frac=total.clipped_sum.item() / max(num_tokens, 1),
            weight_sum=math.fsum(part.weight_sum.item() for part in parts),
            weight_square_sum=math.fsum(part.weight_square_sum.item() for part in parts),
            num_dropped=sum(int(part.num_dropped.item()) for part in parts),
            num_tokens=num_tokens,
            num_samples=len(minibatch.samples),
            old_logprobs={
                sample.number: tuple(row[: len(sample.token_ids)])
                for part in parts
                for sample, row in zip(part.samples, part.old_NT.tolist(), strict=True)
            },
            seconds=time.perf_counter() - started,
        )

    def warm_up(self, batches: Sequence[Sequence[PtxSample]], *, lrs: Sequence[float]) -> list[UpdateMetrics]:
        """One update of the PTX loss alone for each batch, through the grid."""
        metrics = []
        for batch, lr in zip(batches, lrs, strict=True):
            started = time.perf_counter()
            loss = self._backward_ptx(batch, coef=1.0)
            grad_norm, update_size = self._optimizer_step(lr)
            metrics.append(
                UpdateMetrics(
                    policy_loss=0.0, ptx_loss=loss, grad_norm=grad_norm, learning_rate=lr, update_size=update_size,
                    log_ratio_mean=0.0, log_ratio_std=0.0, clipped_frac=0.0,
                    weight_sum=0.0, weight_square_sum=0.0, num_dropped=0, num_tokens=0, num_samples=0,
                    seconds=time.perf_counter() - started,
                )
            )  # fmt: skip
        return metrics

    def forget_optimizer(self) -> None:
        """Start the optimiser's moments anew: after the warm-up, whose loss was another one. RL begins here."""
        self.optimizer, self.kept = self._new_optimizer(), self._new_kept()

    def _backward_policy(self, micro: MicroBatch, samples: Sequence[LearningSample], whole: Minibatch) -> _Part:
        s = self.settings
        temperatures_M = _per_token([sample.temperatures for sample in samples])
        reference_NT = self.kept.reference_logprobs(lambda: logprobs(self.model, micro, temperatures_M))
        logprobs_NT = logprobs(self.model, micro, temperatures_M)
        known = [sample.old_logprobs for sample in samples if sample.old_logprobs is not None]
        assert len(known) in (0, len(samples)), "log pi_old of some samples only"
        old_NT = _padded(known, micro, self.device) if known else logprobs_NT.detach()
        engine_NT = _padded([sample.engine_logprobs for sample in samples], micro, self.device)
        mask_NT = _padded([sample.loss_mask for sample in samples], micro, self.device)
        advantages_N = torch.tensor([sample.advantage for sample in samples], device=self.device)
        weights_NT = mismatch_weights(
            s.mismatch, logprobs_NT=logprobs_NT, old_logprobs_NT=old_NT, engine_logprobs_NT=engine_NT,
            loss_mask_NT=mask_NT,
        )  # fmt: skip
        result = objective(s.loss).loss(
            LossInputs(
                logprobs_NT=logprobs_NT, old_logprobs_NT=old_NT, advantages_N=advantages_N, loss_mask_NT=mask_NT,
                weights_NT=weights_NT, num_samples=whole.num_samples, num_tokens=whole.num_tokens,
                tau=s.tau, clip_low=s.clip_low, clip_high=s.clip_high, aggregation=s.aggregation,
            )
        )  # fmt: skip
        apart = ReferenceKL(torch.zeros(()), torch.zeros(()))
        if reference_NT is not None:
            apart = reference_kl(
                logprobs_NT, reference_NT, mask_NT, estimator=s.reference_estimator, num_tokens=whole.num_tokens
            )
        (result.loss + s.reference_coef * apart.loss).backward()
        weights_NT = weights_NT * mask_NT
        return _Part(
            loss=PolicyLoss(*(part.detach() for part in result)), samples=samples, old_NT=old_NT,
            weight_sum=weights_NT.sum(), weight_square_sum=weights_NT.square().sum(),
            num_dropped=((weights_NT == 0) & (mask_NT > 0)).sum(), reference_kl=apart.value,
        )  # fmt: skip

    @torch.no_grad()
    def ptx_loss(self, samples: Sequence[PtxSample]) -> float:
        """Mean negative log-likelihood of conversations in nats per token; changes nothing."""
        return self._backward_ptx(samples, coef=0.0)

    def _backward_ptx(self, samples: Sequence[PtxSample], *, coef: float) -> float:
        """Adds coef times the gradient of the mean NLL; returns the mean NLL."""
        num_tokens = sum(sum(sample.loss_mask) for sample in samples)
        trees = [Tree(prefix=s.prefix, continuations=(s.token_ids,), ids=(i,)) for i, s in enumerate(samples)]
        total = 0.0
        for micro in pack(trees, max_tokens=self.settings.max_microbatch_tokens):
            mask_NT = _padded([samples[i].loss_mask for i in micro.ids], micro, self.device)
            loss = negative_log_likelihood(logprobs(self.model, micro), mask_NT, num_tokens=num_tokens)
            if coef:
                (coef * loss).backward()
            total += loss.item()
        return total

    def _optimizer_step(self, lr: float) -> tuple[float, float]:
        """Clip, step, put the model back on the grid; the gradient's norm before clipping, and the update's size."""
        norm = torch.nn.utils.clip_grad_norm_(self.masters.parameters.values(), self.settings.max_grad_norm)
        if not torch.isfinite(norm):
            raise RuntimeError("the gradient is not finite; lower learner.lr or learner.max_grad_norm")
        update_size = self.optimizer.step(lr)
        if self.qk_clip is not None:
            self.qk_clip.clip(self.masters.parameters)
        self.masters.zero_grad()
        self.masters.refresh()
        return float(norm), update_size

    # -- weights and state --------------------------------------------------------------------------------------------

    def publish(self, version: int) -> WeightArtefact:
        """The packed weights as an immutable, checksummed artefact in host memory."""
        return build_artefact(self._packed(), version)

    def export(self, folder: Path) -> None:
        """Write an INT4 folder that vLLM and transformers open as it is; beside it, as NAME_ema, the average's."""
        self._write(folder)
        self.kept.export(folder, self._write, self.masters.refresh)

    def _write(self, folder: Path) -> None:
        write_int4_folder(folder, self._packed(), self.settings.scheme, self.settings.model_folder)

    def _packed(self) -> Iterator[tuple[str, Tensor]]:
        return packed_tensors(self.model, self.masters.views, self.settings.scheme, packed=self.masters.packed)

    def forward_weights(self) -> dict[str, Tensor]:
        """Every parameter as the forward pass uses it, in bf16, by transformers name. For proofs."""
        return {name: p.detach().to(torch.bfloat16, copy=True).cpu() for name, p in self.model.named_parameters()}

    def sequence_logprobs(self, sequences: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        """Log-probability of every token but the first of each sequence, at T = 1. For probes of the gap."""
        trees = [Tree(prefix=ids[:1], continuations=(ids[1:],), ids=(i,)) for i, ids in enumerate(sequences)]
        found: dict[int, tuple[float, ...]] = {}
        with torch.no_grad():
            for micro in pack(trees, max_tokens=self.settings.max_microbatch_tokens):
                for number, row in zip(micro.ids, logprobs(self.model, micro).tolist(), strict=True):
                    found[number] = tuple(row[: len(sequences[number]) - 1])
        return [found[i] for i in range(len(sequences))]

    def save(self, file: Path) -> None:
        """Write masters and optimiser to one file, and beside it what is kept."""
        with file.open("wb") as stream:
            torch.save({"masters": self.masters.parameters, "optimizer": self.optimizer.state_dict()}, stream)
            stream.flush()
            os.fsync(stream.fileno())  # the manifest that names this file must not reach the disk before it
        self.kept.save(file.parent)

    def load(self, file: Path) -> None:
        """Read what `save` wrote; the model is put back on the grid."""
        state = torch.load(file, map_location=self.device, weights_only=True)
        if set(state["masters"]) != set(self.masters.parameters):
            raise ValueError(f"{file} belongs to another model: its parameters differ")
        for name, master in self.masters.parameters.items():
            master.copy_(state["masters"][name])
        self.optimizer = self._new_optimizer()
        self.optimizer.load_state_dict(state["optimizer"])
        self.masters.refresh()
        self.kept.load(file.parent)


class _Part(NamedTuple):
    """What a micro-batch added to an update; scalars stay on the device until all of them are there."""

    loss: PolicyLoss
    samples: Sequence[LearningSample]
    old_NT: Tensor
    """log pi_old of the samples."""
    weight_sum: Tensor
    weight_square_sum: Tensor
    num_dropped: Tensor
    """Of the weights for the engine, as in `UpdateMetrics`."""
    reference_kl: Tensor
    """Its part of the divergence from the reference; 0 without."""


def _num_loss_tokens(sample: LearningSample) -> int:
    return sum(sample.loss_mask)


def _sum_losses(losses: Sequence[PolicyLoss]) -> PolicyLoss:
    zero = torch.zeros(())
    return (
        PolicyLoss(*(sum(parts, start=zero) for parts in zip(*losses, strict=True)))
        if losses
        else PolicyLoss(*[zero] * 4)
    )


def _padded(rows: Sequence[Sequence[float]], micro: MicroBatch, device: torch.device) -> Tensor:
    """Ragged rows to [n, T] fp32, 0 in the padding."""
    out = torch.zeros((len(rows), micro.max_length))
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row, dtype=torch.float32)
    return out.to(device)


def _per_token(rows: Sequence[Sequence[float]]) -> Tensor:
    """[M] values of ragged rows, in the order of the micro-batch's tokens."""
    return torch.tensor([value for row in rows for value in row], dtype=torch.float32)
