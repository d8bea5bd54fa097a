"""From the config to what learner and engines are started with, and what each update is called with. Pure functions.

A setting and the field that it fills have one name, so that it is written down twice and not four times: a new field of
`LearnerSettings` is a new setting of `learner.*`, and nothing here changes.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from configs.base import Section
from configs.schema import Config
from rl.curated import Curated, PtxBatch
from rl.learner import LearnerSettings
from rl.lora import LoraSettings
from rl.mismatch import Mismatch
from rl.ptx import TRAIN_STREAM
from rl.schedule import learning_rate_at, temperature_at
from rollout.chat import ChatFormat
from rollout.engine.engine import EngineSettings
from rollout.quant.scheme import QuantScheme

__all__ = ["engine_settings", "learner_settings", "learning_rate", "ptx_batch"]

_S = TypeVar("_S", LearnerSettings, EngineSettings)


def learner_settings(config: Config, model_folder: Path) -> LearnerSettings:
    """The learner's part of a config."""
    lora = config.learner.lora
    return _from_section(
        LearnerSettings,
        config.learner,
        model_folder=model_folder,
        scheme=QuantScheme(group_size=config.quant.group_size, ignore=config.quant.ignore),
        fake_quantize=config.quant.fake_quantize,
        bf16_masters=config.quant.bf16_masters,
        mismatch=Mismatch(**config.learner.mismatch.model_dump()),
        reference_coef=config.learner.reference_kl.coef,
        reference_estimator=config.learner.reference_kl.estimator,
        ptx_coef=config.ptx.coef,
        lora=LoraSettings(rank=lora.rank, alpha=lora.alpha) if lora.rank else None,
    )


def engine_settings(config: Config, folder: Path, chat: ChatFormat, *, quantised: bool = True) -> EngineSettings:
    """The engines' part of a config."""
    return _from_section(
        EngineSettings,
        config.engine,
        model_folder=folder,
        context_length=config.model.context_length,
        stop_token_ids=chat.end_token_ids,
        seed=config.seed % 2**31,
        quantised=quantised,
        returns_routing=quantised and config.learner.replay_routing,
    )


def _from_section(kind: type[_S], section: Section, **others: Any) -> _S:
    """`kind` with `others`, and each of its other fields that the section has a setting for, under the same name."""
    same = {one.name: getattr(section, one.name) for one in fields(kind) if one.name in type(section).model_fields}
    return kind(**same | others)


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
