"""From the config to what learner and engines are started with, and what each update is called with. Pure functions."""

from __future__ import annotations

from pathlib import Path

from configs.schema import Config
from rl.curated import Curated, PtxBatch
from rl.learner import LearnerSettings
from rl.mismatch import Mismatch
from rl.ptx import TRAIN_STREAM
from rl.schedule import learning_rate_at, temperature_at
from rollout.chat import ChatFormat
from rollout.engine.engine import EngineSettings
from rollout.quant.scheme import QuantScheme

__all__ = ["engine_settings", "learner_settings", "learning_rate", "ptx_batch"]


def learner_settings(config: Config, model_folder: Path) -> LearnerSettings:
    """The learner's part of a config."""
    learner = config.learner
    return LearnerSettings(
        model_folder=model_folder,
        scheme=QuantScheme(group_size=config.quant.group_size, ignore=config.quant.ignore),
        fake_quantize=config.quant.fake_quantize,
        compute_dtype=learner.compute_dtype,
        loss=learner.loss,
        aggregation=learner.aggregation,
        tau=learner.tau,
        clip_low=learner.clip_low,
        clip_high=learner.clip_high,
        mismatch=Mismatch(**learner.mismatch.model_dump()),
        optimizer=learner.optimizer,
        momentum=learner.momentum,
        betas=learner.betas,
        qk_clip=learner.qk_clip,
        reset_optimizer=learner.reset_optimizer,
        ema_decay=learner.ema_decay,
        reference_coef=learner.reference_kl.coef,
        reference_estimator=learner.reference_kl.estimator,
        weight_decay=learner.weight_decay,
        max_grad_norm=learner.max_grad_norm,
        max_microbatch_tokens=learner.max_microbatch_tokens,
        gradient_checkpointing=learner.gradient_checkpointing,
        ptx_coef=config.ptx.coef,
    )


def engine_settings(config: Config, folder: Path, chat: ChatFormat, *, quantised: bool = True) -> EngineSettings:
    """The engines' part of a config."""
    return EngineSettings(
        model_folder=folder,
        context_length=config.model.context_length,
        max_num_seqs=config.engine.max_num_seqs,
        kv_cache_bytes=config.engine.kv_cache_bytes,
        block_size=config.engine.block_size,
        stop_token_ids=chat.end_token_ids,
        seed=config.seed % 2**31,
        quantised=quantised,
    )


def learning_rate(config: Config, step: int) -> float:
    """Learning rate of a step."""
    learner = config.learner
    return learning_rate_at(
        step,
        lr=learner.lr,
        ramp_steps=learner.lr_ramp_steps,
        num_steps=config.num_steps,
        end_frac=learner.lr_end_frac,
    )


def ptx_batch(config: Config, data: Curated | None, *, step: int, minibatch: int) -> PtxBatch:
    """The curated conversations of an update; none where the PTX loss is off."""
    ptx = config.ptx
    if data is None:
        return PtxBatch()
    found = PtxBatch()
    if ptx.coef:
        found = data.batch(
            step * config.learner.num_minibatches + minibatch,
            seed=config.seed,
            stream=TRAIN_STREAM,
            batch_size=ptx.batch_size,
            num_conversations=ptx.num_conversations,
        )
    found.scale = temperature_at(step, 1.0, ptx.coef_end_frac, max(config.num_steps - 1, 1), ptx.coef_shape)
    if minibatch == 0 and step % ptx.heldout_every == 0:
        found.heldout = data.heldout
    return found
