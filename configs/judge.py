"""The sections of a config that say who judges open-ended answers, how it is asked, and when it counts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.base import Fraction, NonNegative, Positive, Seconds, Section
from configs.endpoint import EndpointConfig

__all__ = ["CalibrationConfig", "JudgeConfig", "JudgeEndpointConfig"]


class JudgeEndpointConfig(EndpointConfig):
    """An OpenAI-compatible endpoint as the judge: `judge.source = "endpoint"`."""

    guided: Literal["json_schema", "vllm", "none"] = "json_schema"
    """How the verdict's form is enforced: `response_format`, vLLM's own fields, or not at all."""


class CalibrationConfig(Section):
    """When the judge's verdicts count: it is asked about held-out pairs whose right answer is known."""

    every: NonNegative = 10
    """Steps between calibrations; one is always made before the first step. 0: only that one."""
    num_pairs: Positive = 64
    """Most pairs of a calibration; each is asked in both orders."""
    min_pairs: Positive = 20
    """Least pairs with a verdict for a calibration to count."""
    min_accuracy: Fraction = 0.6
    """Below this accuracy rubric rewards are masked until a later calibration. One half is a coin; 0: always count."""
    max_flip_rate: Fraction = 1.0
    """Above this fraction of pairs that are decided by position they are masked, too."""


class JudgeConfig(Section):
    """The critic that rewards open-ended answers, for gyms that need a judge (docs/judge.md)."""

    source: Literal["policy", "endpoint"] = "policy"
    """`policy`: the served policy judges itself (Kimi K2). `endpoint`: another model does."""
    endpoint: JudgeEndpointConfig = JudgeEndpointConfig()
    """The other model. Only for `source = "endpoint"`."""
    style: Literal["full", "short", "bare", "quote"] = "full"
    """`full`: a JSON verdict on every criterion. `short`, `bare`: one label; for small models. `quote`: the better
    answer itself; for very small models and short answers."""
    decides: Literal["weights", "judge"] = "weights"
    """`full` only. `weights`: the criteria's weights decide. `judge`: it names one winner."""
    allow_tie: bool = True
    """Whether the judge may say that two answers tie."""
    max_tokens: Positive = 256
    """Most tokens of a verdict."""
    temperature: Annotated[float, Field(ge=0.0, le=4.0)] = 0.0
    """Temperature of the judge's own sampling; 0 is greedy."""
    num_opponents: Annotated[int, Field(ge=2)] = 3
    """Call budget: siblings that each answer is compared with, beyond 4 different answers. Two calls a pair."""
    prior: Annotated[float, Field(gt=0.0)] = 0.1
    """Pull of a group's strengths towards each other: a lone win is worth 0.89 with 0.1 and 0.66 with 1."""
    min_decided_frac: Fraction = 0.3
    """A sample is masked where fewer of its comparisons than this fraction have a verdict."""
    num_retries: NonNegative = 1
    """Further calls where a reply is no verdict."""
    max_in_flight: Positive = 64
    """Most judge calls at a time."""
    deadline_seconds: Seconds = 600.0
    """Deadline of one call."""
    group_seconds: Seconds = 1800.0
    """Deadline of one group."""
    max_question_chars: Positive = 6000
    """Longer questions are cut in the middle."""
    max_answer_chars: Positive = 6000
    """Longer answers are cut in the middle, or fail."""
    too_long: Literal["cut", "fail"] = "cut"
    """`cut`: show head and tail, and flag it. `fail`: no verdict; such an answer is worth 0. `quote` always fails."""
    calibration: CalibrationConfig = CalibrationConfig()
    """Which judge counts."""

    @model_validator(mode="after")
    def _endpoint_is_named(self) -> JudgeConfig:
        if self.source == "endpoint" and not (self.endpoint.base_url and self.endpoint.model):
            raise ValueError(
                'judge.source = "endpoint" needs judge.endpoint.base_url and judge.endpoint.model; '
                'set both, or judge.source = "policy"'
            )
        return self
