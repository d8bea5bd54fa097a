"""From the config to what learner and engines are started with, and what each update is called with. Pure functions."""

from __future__ import annotations

from pathlib import Path

from configs.schema import Config
from rl.learner import LearnerSettings
from rl.lora import LoraSettings
from rl.mismatch import Mismatch
from rl.ptx import TRAIN_STREAM, PtxData, PtxSample
from rl.schedule import learning_rate_at
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
        weight_decay=learner.weight_decay,
        max_grad_norm=learner.max_grad_norm,
        max_microbatch_tokens=learner.max_microbatch_tokens,
        gradient_checkpointing=learner.gradient_checkpointing,
        ptx_coef=config.ptx.coef,
        frozen=learner.frozen,
        lora=LoraSettings(rank=learner.lora.rank, alpha=learner.lora.alpha) if learner.lora.rank else None,
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


def ptx_batch(config: Config, data: PtxData | None, *, step: int, minibatch: int) -> list[PtxSample]:
    """The curated conversations of an update; none where the PTX loss is off."""
    ptx = config.ptx
    if data is None or ptx.coef == 0:
        return []
    return data.batch(
        step * config.learner.num_minibatches + minibatch,
        seed=config.seed,
        stream=TRAIN_STREAM,
        batch_size=ptx.batch_size,
        num_conversations=ptx.num_conversations,
    )
