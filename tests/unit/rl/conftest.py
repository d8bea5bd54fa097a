"""What the tests of this room share: a tiny model, built once, and makers of scored samples and groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.schema import TinyModelConfig
from gyms.api import Score, Status, Task, message
from gyms.mixture import Draw
from reward.rules import TruncationRule, reward_of
from rl.batch import Group, ScoredSample
from rl.learner import LearnerSettings
from rl.mismatch import Mismatch
from rl.tiny_model import build_tiny_model
from rollout.quant.scheme import QuantScheme
from rollout.types import FinishReason, Sample, Segment


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers, 32 tokens, random weights."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    shape = TinyModelConfig(hidden_size=64, num_layers=2, num_heads=2, intermediate_size=96)
    build_tiny_model(folder, shape, context_length=128, seed=0)
    return folder


@pytest.fixture
def settings(tiny_folder: Path) -> LearnerSettings:
    """Of a learner of it."""
    return LearnerSettings(
        model_folder=tiny_folder,
        scheme=QuantScheme(),
        fake_quantize=True,
        compute_dtype="float32",
        loss="k2_seq",
        aggregation=None,
        tau=0.5,
        clip_low=-0.6931,
        clip_high=0.6931,
        mismatch=Mismatch(),
        optimizer="adamw",
        momentum=0.95,
        betas=(0.9, 0.95),
        qk_clip=None,
        reset_optimizer=False,
        ema_decay=None,
        reference_coef=0.0,
        reference_estimator="k3",
        weight_decay=0.01,
        max_grad_norm=1.0,
        max_microbatch_tokens=64,
        gradient_checkpointing=False,
        ptx_coef=0.5,
    )


TASK = Task(id="sums/1", prompt=(message("user", "1+2="),), data={"answer": "3"})


def _scored(
    value: float | None = 1.0,
    *,
    status: Status = Status.OK,
    token_ids: tuple[int, ...] = (5, 6, 0),
    logprobs: tuple[float, ...] | None = None,
    segments: tuple[Segment, ...] | None = None,
    truncation: TruncationRule = TruncationRule(),  # noqa: B008 - frozen
    text: str = "3",
    **score: Any,
) -> ScoredSample:
    if status is not Status.OK:
        value = None
    plain = Segment(
        token_ids=token_ids, logprobs=logprobs or (-0.5,) * len(token_ids), weight_version=4, temperature=0.9
    )
    sample = Sample(
        id="s",
        prompt_ids=(1, 2),
        segments=segments or (plain,),
        finish_reason=FinishReason.LENGTH if status is Status.TRUNCATED else FinishReason.STOP,
        text=text,
    )
    full = Score(status=status, value=value, **score)
    return ScoredSample(sample=sample, score=full, reward=reward_of(full, minimum=0.0, truncation=truncation))


@pytest.fixture(scope="session")
def scored() -> Callable[..., ScoredSample]:
    """Makes a scored sample; its reward comes from `reward.rules.reward_of`."""
    return _scored


@pytest.fixture(scope="session")
def group() -> Callable[..., Group]:
    """Makes a group of scored samples; plain numbers stand for `ok` scores of that value."""

    def make(index: int, *samples: ScoredSample | float, gym: str = "sums", task: Task = TASK) -> Group:
        whole = tuple(s if isinstance(s, ScoredSample) else _scored(s) for s in samples)
        return Group(draw=Draw(index=index, gym=gym, task=task, budget=8), samples=whole)

    return make
