"""The learner: a transformers model on the INT4 grid, its fp32 masters, and one update at a time.

A plain class; `rl.cluster` puts it into its own process. It sees batches, never tasks or rewards, and hands out packed
weights, never gradients. Losses of micro-batches add up to the loss of the minibatch, so `max_microbatch_tokens` bounds
memory and changes nothing else. Dropout is off for good: the model stays in eval mode.

What a pass over a micro-batch is, and which models it is right for, is in `rl.forward`.

A learner of several ranks is several of these, each in a process of its own with its rows of the masters (`rl.shards`).
All are called with the same arguments; each learns from its own share (`rl.deal`); the first answers for all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rl.attention import attention_name
from rl.balance import balance_loss, expert_load
from rl.batch import LearningSample, Minibatch
from rl.curated import PtxBatch
from rl.deal import own_conversations, own_samples, sample_trees
from rl.forward import check_model, checkpoint_layers, logprobs
from rl.kept import Kept
from rl.learner_settings import LearnerSettings
from rl.learner_state import load_state, save_state
from rl.lora import LoraMasters
from rl.loss import LossInputs, PolicyLoss, negative_log_likelihood
from rl.mismatch import mismatch_weights
from rl.objective import objective
from rl.offload import Offload, tensors_in
from rl.optim import Optimizer
from rl.packing import MicroBatch, Tree, pack, padded, per_token
from rl.parts import Part, Sums, merged, sums
from rl.ptx import PtxSample
from rl.qat import Masters
from rl.qk_clip import QKClip
from rl.ranks import Ranks, Seat
from rl.reference import ReferenceKL, reference_kl
from rl.routing import RoutingReplay, newest_siblings, routing_of
from rl.update import UpdateMetrics
from rollout.quant.checkpoint import packed_tensors, write_model_folder
from rollout.weights.changes import Changes, changes
from rollout.weights.contract import WeightArtefact
from rollout.weights.device_copy import Lender
from rollout.weights.receiver import tensors
from rollout.weights.sender import build_artefact

if TYPE_CHECKING:
    from rl.shards import RankMasters

__all__ = ["Learner", "LearnerSettings"]


class Learner:
    """Holds theta, its optimiser, and its image on the grid.

    Args:
        settings: the same for all ranks.
        seat: which of several ranks this is; None: there are no others.

    Raises:
        ValueError: a model whose shapes, head or attention this learner cannot train; says which and why.
    """

    def __init__(self, settings: LearnerSettings, seat: Seat | None = None) -> None:
        from transformers import AutoModelForCausalLM

        self.settings = settings
        self.ranks = Ranks(seat)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = AutoModelForCausalLM.from_pretrained(
            str(settings.model_folder), dtype=torch.float32, attn_implementation=attention_name()
        )
        self.model: Any = model.eval()
        self.model.config.use_cache = False
        compute_dtype, fake_quantize = getattr(torch, settings.compute_dtype), settings.fake_quantize
        self.masters: Masters | RankMasters
        self._logprobs: Callable[[MicroBatch, Tensor | None], Tensor]
        if self.ranks.is_alone:
            self.model.to(self.device)
        check_model(self.model)  # in fp32 and whole: before it is rounded, or cut between ranks
        if self.ranks.is_alone:
            self.masters = self._new_masters()
            self._logprobs = partial(logprobs, self.model)
        else:
            from rl.shards import RankMasters  # and FSDP, which takes a second to import

            self.masters = RankMasters(
                self.model, settings.scheme, ranks=self.ranks, compute_dtype=compute_dtype, fake_quantize=fake_quantize
            )
            self._logprobs = self.masters.forward
        self.routing = None
        if settings.replay_routing:
            self.routing = RoutingReplay(self.model, keeps_scores=settings.router_aux > 0)
            self._logprobs = self.routing.around(self._logprobs, self.device)
        self.optimizer = self._new_optimizer()
        self.qk_clip = None if settings.qk_clip is None else QKClip(self.model, settings.qk_clip)
        self.kept = self._new_kept()
        self._offload, self._lender = Offload(), Lender()
        if settings.gradient_checkpointing:
            checkpoint_layers(self.model)

    def _new_masters(self) -> Masters:
        s = self.settings
        dtype = getattr(torch, s.compute_dtype)
        if s.lora is not None:
            return LoraMasters(
                self.model, s.scheme, lora=s.lora, compute_dtype=dtype, fake_quantize=s.fake_quantize
            )  # fmt: skip
        return Masters(
            self.model, s.scheme, compute_dtype=dtype, fake_quantize=s.fake_quantize, frozen=s.frozen
        )  # fmt: skip

    def _new_kept(self) -> Kept:
        s = self.settings
        return Kept(self.model, self.masters.parameters, is_referred=s.reference_coef > 0, ema_decay=s.ema_decay)

    def _new_optimizer(self) -> Optimizer:
        s = self.settings
        return Optimizer(
            self.masters.parameters, self.model,
            kind=s.optimizer, betas=s.betas, weight_decay=s.weight_decay, momentum=s.momentum,
            add_up=None if self.ranks.is_alone else self.ranks.add_up,
        )  # fmt: skip

    # -- log-probabilities --------------------------------------------------------------------------------------------

    def add_old_logprobs(self, minibatches: Sequence[Minibatch]) -> tuple[Minibatch, ...]:
        """The minibatches with log pi_old of every sample, computed in the very micro-batches of the updates.

        A step's first minibatch needs none: it is updated from theta_old itself, so its own pass gives the same bits.
        Of several ranks the first returns them, the others nothing.
        """
        found = [self._with_old_logprobs(minibatch) for minibatch in minibatches]
        return tuple(minibatch for minibatch in found if minibatch is not None)

    @torch.no_grad()
    def _with_old_logprobs(self, minibatch: Minibatch) -> Minibatch | None:
        own: dict[int, tuple[float, ...]] = {}
        micro_batches = self._micro_batches(minibatch)
        num_idle = self._num_idle(micro_batches)
        for micro, samples in micro_batches:
            logprobs_NT = self._logprobs(micro, per_token([s.temperatures for s in samples]))
            for row, sample in zip(logprobs_NT.tolist(), samples, strict=True):
                own[sample.number] = tuple(row[: len(sample.token_ids)])
        self._idle(num_idle)
        found = merged(self.ranks.gather(own))
        if not self.ranks.is_first:
            return None
        return replace(minibatch, samples=tuple(replace(s, old_logprobs=found[s.number]) for s in minibatch.samples))

    def _micro_batches(self, minibatch: Minibatch) -> list[tuple[MicroBatch, list[LearningSample]]]:
        """Of this rank's share."""
        own = minibatch.samples
        if not self.ranks.is_alone:
            own = own_samples(own, self.ranks.rank, self.ranks.size)
        by_number = {sample.number: sample for sample in own}
        packed = pack(sample_trees(own), max_tokens=self.settings.max_microbatch_tokens)
        found = [(micro, [by_number[number] for number in micro.ids]) for micro in packed]
        if self.routing is not None:
            newest = newest_siblings(own)
            return [(replace(micro, routing=routing_of(micro, samples, newest)), samples) for micro, samples in found]
        return found

    def _num_idle(self, micro_batches: Sequence[object]) -> int:
        """How many more micro-batches than this one the rank with most of them has: to be known before the first."""
        return self.ranks.maximum(len(micro_batches)) - len(micro_batches)

    def _idle(self, num_passes: int) -> None:
        """Passes over two tokens that teach nothing, while other ranks need this one's rows of the weights."""
        for _ in range(num_passes):
            micro = pack([Tree(prefix=(0,), continuations=((0,),), ids=(0,))], max_tokens=2)[0]
            found_NT = self._logprobs(micro, None)
            if found_NT.requires_grad:
                (0.0 * found_NT).sum().backward()

    # -- updates ------------------------------------------------------------------------------------------------------

    def update(self, minibatch: Minibatch, ptx: Sequence[PtxSample], *, lr: float) -> UpdateMetrics:
        """One optimiser update: policy loss of the minibatch plus ptx_coef times the PTX loss, through the grid.

        Every rank returns the sums over all; log-probabilities of samples that are not its own only the first.

        Args:
            minibatch: samples with `old_logprobs`; without them, theta is theta_old and this pass gives them.
            ptx: conversations for this update, or a `PtxBatch` of them; ignored where the weight is 0.
            lr: learning rate, >= 0.
        """
        started = time.perf_counter()
        if self.settings.reset_optimizer and minibatch.index == 0:
            self.optimizer = self._new_optimizer()
        micro_batches = self._micro_batches(minibatch)
        num_idle = self._num_idle(micro_batches)
        num_tokens = sum(sum(sample.loss_mask) for sample in minibatch.samples)
        load_LE = None
        if self.settings.router_aux and minibatch.samples:
            load_LE = expert_load(minibatch.samples, self.model.config.get_text_config().num_local_experts)
        parts = [
            self._backward_policy(micro, samples, minibatch, load_LE, num_learned=num_tokens)
            for micro, samples in micro_batches
        ]
        self._idle(num_idle)
        heldout = ptx.heldout if isinstance(ptx, PtxBatch) else ()
        heldout_loss = self.ptx_loss(heldout) if heldout else None
        coef = self.settings.ptx_coef * (ptx.scale if isinstance(ptx, PtxBatch) else 1.0)
        use_ptx = bool(ptx) and coef > 0
        ptx_loss = self._backward_ptx(ptx, coef=coef) if use_ptx else 0.0
        qk_max_logit = None if self.qk_clip is None else self.qk_clip.max_logit()
        grad_norm, update_size = 0.0, 0.0
        if minibatch.samples or use_ptx:
            grad_norm, update_size = self._optimizer_step(lr)
            self.kept.updated()
        count = len(minibatch.samples) if objective(self.settings.loss).counts_samples else num_tokens
        total = Sums(*self.ranks.add_up(sums(parts)))
        old_logprobs = {
            sample.number: tuple(row[: len(sample.token_ids)])
            for part in parts
            for sample, row in zip(part.samples, part.old_NT.tolist(), strict=True)
        }
        return UpdateMetrics(
            policy_loss=total.loss,
            ptx_loss=ptx_loss,
            ptx_coef=coef if use_ptx else 0.0,
            ptx_heldout_loss=heldout_loss,
            qk_max_logit=qk_max_logit,
            reference_kl=total.reference_kl if minibatch.samples and self.kept.reference else None,
            grad_norm=grad_norm,
            learning_rate=lr,
            update_size=update_size,
            log_ratio_mean=total.log_ratio / max(count, 1),
            log_ratio_std=math.sqrt(total.log_ratio_square / max(count, 1)),
            clipped_frac=total.clipped / max(num_tokens, 1),
            weight_sum=total.weight,
            weight_square_sum=total.weight_square,
            num_dropped=int(total.num_dropped),
            num_flipped=int(total.num_flipped),
            num_replayed=int(total.num_replayed),
            router_aux=total.router_aux if load_LE is not None else None,
            num_tokens=num_tokens,
            num_samples=len(minibatch.samples),
            old_logprobs=merged(self.ranks.gather(old_logprobs)),
            seconds=time.perf_counter() - started,
            num_threads=torch.get_num_threads(),
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
                    seconds=time.perf_counter() - started, num_threads=torch.get_num_threads(),
                )
            )  # fmt: skip
        return metrics

    def forget_optimizer(self) -> None:
        """Start the optimiser's moments anew: after the warm-up, whose loss was another one. RL begins here."""
        self.optimizer, self.kept = self._new_optimizer(), self._new_kept()

    def _backward_policy(
        self,
        micro: MicroBatch,
        samples: Sequence[LearningSample],
        whole: Minibatch,
        load_LE: Tensor | None,
        *,
        num_learned: int,
    ) -> Part:
        s = self.settings
        temperatures_M = per_token([sample.temperatures for sample in samples])
        reference_NT = self.kept.reference_logprobs(lambda: self._logprobs(micro, temperatures_M))
        logprobs_NT = self._logprobs(micro, temperatures_M)
        num_flipped, num_replayed = (torch.zeros(()), 0) if self.routing is None else self.routing.flips()
        known = [sample.old_logprobs for sample in samples if sample.old_logprobs is not None]
        assert len(known) in (0, len(samples)), "log pi_old of some samples only"
        old_NT = padded(known, micro, self.device) if known else logprobs_NT.detach()
        engine_NT = padded([sample.engine_logprobs for sample in samples], micro, self.device)
        mask_NT = padded([sample.loss_mask for sample in samples], micro, self.device)
        advantages_N = torch.tensor([sample.advantage for sample in samples], device=self.device)
        lengths_N = torch.tensor([float(s.num_counted or sum(s.loss_mask)) for s in samples], device=self.device)
        weights_NT = mismatch_weights(
            s.mismatch, logprobs_NT=logprobs_NT, old_logprobs_NT=old_NT, engine_logprobs_NT=engine_NT,
            loss_mask_NT=mask_NT,
        )  # fmt: skip
        result = objective(s.loss).loss(
            LossInputs(
                logprobs_NT=logprobs_NT, old_logprobs_NT=old_NT, advantages_N=advantages_N, loss_mask_NT=mask_NT,
                weights_NT=weights_NT, lengths_N=lengths_N, num_samples=whole.num_samples, num_tokens=whole.num_tokens,
                tau=s.tau, clip_low=s.clip_low, clip_high=s.clip_high, aggregation=s.aggregation,
                squared_over=s.squared_over,
            )
        )  # fmt: skip
        apart = ReferenceKL(torch.zeros(()), torch.zeros(()))
        if reference_NT is not None:
            apart = reference_kl(
                logprobs_NT, reference_NT, mask_NT, estimator=s.reference_estimator, num_tokens=num_learned
            )
        router_aux = torch.zeros(())
        if self.routing is not None and load_LE is not None:
            router_aux = balance_loss(self.routing.scores(), load_LE, micro, samples, num_tokens=num_learned)
        (result.loss + s.reference_coef * apart.loss + s.router_aux * router_aux).backward()
        weights_NT = weights_NT * mask_NT
        return Part(
            loss=PolicyLoss(*(part.detach() for part in result)), samples=samples, old_NT=old_NT,
            weight_sum=weights_NT.sum(), weight_square_sum=weights_NT.square().sum(),
            num_dropped=((weights_NT == 0) & (mask_NT > 0)).sum(), reference_kl=apart.value,
            num_flipped=num_flipped, num_replayed=num_replayed, router_aux=router_aux.detach(),
        )  # fmt: skip

    @torch.no_grad()
    def ptx_loss(self, samples: Sequence[PtxSample]) -> float:
        """Mean negative log-likelihood of conversations in nats per token; changes nothing."""
        return self._backward_ptx(samples, coef=0.0)

    def _backward_ptx(self, samples: Sequence[PtxSample], *, coef: float) -> float:
        """Adds coef times the gradient of the mean NLL; returns the mean NLL."""
        num_tokens = sum(sum(sample.loss_mask) for sample in samples)
        if not self.ranks.is_alone:
            samples = own_conversations(samples, self.ranks.rank, self.ranks.size)
        trees = [Tree(prefix=s.prefix, continuations=(s.token_ids,), ids=(i,)) for i, s in enumerate(samples)]
        total = 0.0
        micro_batches = pack(trees, max_tokens=self.settings.max_microbatch_tokens)
        num_idle = self._num_idle(micro_batches)
        for micro in micro_batches:
            mask_NT = padded([samples[i].loss_mask for i in micro.ids], micro, self.device)
            loss = negative_log_likelihood(self._logprobs(micro, None), mask_NT, num_tokens=num_tokens)
            if coef:
                (coef * loss).backward()
            total += loss.item()
        self._idle(num_idle)
        return self.ranks.add_up([total])[0]

    def _optimizer_step(self, lr: float) -> tuple[float, float]:
        """Clip, step, put the model back on the grid; the gradient's norm before clipping, and the update's size."""
        norm = self.masters.clip_grad_norm(self.settings.max_grad_norm)
        if not torch.isfinite(norm):
            raise RuntimeError("the gradient is not finite; start a new run_dir with a lower learner.lr")
        update_size = self.optimizer.step(lr)
        if self.qk_clip is not None:
            self.qk_clip.clip(self.masters.parameters)
        if self.settings.bf16_masters:
            for master in self.masters.parameters.values():
                master.copy_(master.to(torch.bfloat16))
        self.masters.zero_grad()
        self.masters.refresh()
        return float(norm), update_size

    # -- weights and state --------------------------------------------------------------------------------------------

    def publish(self, version: int) -> WeightArtefact:
        """The packed weights as an immutable, checksummed artefact in host memory; of several ranks, the first's."""
        if isinstance(self.masters, Masters):
            return build_artefact(self._packed(), version)
        return self.masters.publish(version)

    def publish_shared(
        self, version: int, *, before: WeightArtefact | None = None, lends: bool = False
    ) -> tuple[WeightArtefact | None, Changes | None]:
        """What `publish` gives, and what there is to know of it against the version before; other ranks: nothing.

        With `lends`, of a single rank, a copy stays on this device for engines to read, until `take_back`.
        """
        artefact = self._lender.publish(self._packed(), version, self.device) if lends else self.publish(version)
        return (artefact, changes(before, artefact, copy=self._lender.copy)) if self.ranks.is_first else (None, None)

    def take_back(self) -> None:
        """Free the copy that was lent; nobody reads it any more."""
        self._lender.take_back()

    def export(self, folder: Path) -> None:
        """Write an INT4 folder that vLLM and transformers open as it is; beside it, as NAME_ema, the average's.

        Of several ranks the first writes.
        """
        self._write(folder)
        self.kept.export(folder, self._write, self.masters.refresh)

    def _write(self, folder: Path) -> None:
        packed = self._packed() if self.ranks.is_alone else tensors(self.publish(0))
        if self.ranks.is_first:
            write_model_folder(folder, packed, self.settings.scheme, self.settings.model_folder)

    def _packed(self) -> Iterator[tuple[str, Tensor]]:
        return packed_tensors(self.model, self.masters.views, self.settings.scheme, packed=self.masters.packed)

    def forward_weights(self) -> dict[str, Tensor]:
        """Every parameter as the forward pass uses it, in bf16, by transformers name. For proofs."""
        found: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():
            whole: Any = parameter.detach()
            if not self.ranks.is_alone:
                whole = whole.full_tensor()
            found[name] = whole.to(torch.bfloat16, copy=True).cpu()
        return found

    def sequence_logprobs(self, sequences: Sequence[tuple[int, ...]]) -> list[tuple[float, ...]]:
        """Log-probability of every token but the first of each sequence, at T = 1. For probes of the gap."""
        trees = [Tree(prefix=ids[:1], continuations=(ids[1:],), ids=(i,)) for i, ids in enumerate(sequences)]
        found: dict[int, tuple[float, ...]] = {}
        with torch.no_grad():
            for micro in pack(trees, max_tokens=self.settings.max_microbatch_tokens):
                for number, row in zip(micro.ids, self._logprobs(micro, None).tolist(), strict=True):
                    found[number] = tuple(row[: len(sequences[number]) - 1])
        return [found[i] for i in range(len(sequences))]

    def offload(self) -> None:
        """Give the device's memory to others: all of it goes to the host, and nothing may be asked until `onload`."""
        self.masters.zero_grad()
        self._offload.move_out(
            tensors_in(
                [
                    *self.masters.images().values(), *self.model.buffers(),
                    self.masters.tensors(), self.optimizer.state_dict(), self.kept.tensors(),
                ]
            )
        )  # fmt: skip

    def onload(self) -> None:
        """Take the device's memory again, with what it held."""
        self._offload.move_back()

    def save(self, folder: Path) -> None:
        """Write masters and optimiser into a checkpoint's folder: one file, or one of each rank."""
        save_state(folder, self.masters, self.optimizer)
        self.kept.save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote, of any number of ranks; the model is put back on the grid."""
        self.optimizer = self._new_optimizer()
        load_state(folder, self.masters, self.optimizer)
        self.masters.zero_grad()  # an update that was stopped leaves some
        self.masters.refresh()
        self.kept.load(folder)
