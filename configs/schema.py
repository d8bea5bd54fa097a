"""What a run is: every setting, its unit, its range and its default, and the rules between them.

This file imports pydantic and nothing heavier, so that a config is read and checked in milliseconds, before any device
is touched. Unknown keys are refused. Each rule that ties two settings together is one validator with one test. What can
only be checked with the model, the gyms or the cluster in hand is checked by `rl.preflight`, still before work starts.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import model_validator

from configs.alarm import AlarmConfig
from configs.base import NonNegative, Section
from configs.curated import PtxConfig, PtxSourceConfig, WarmupConfig
from configs.judge import CalibrationConfig, JudgeConfig, JudgeEndpointConfig
from configs.learner import LearnerConfig, MismatchConfig, ReferenceKLConfig
from configs.lengths import LengthRewardConfig, ToggleConfig, TruncationConfig
from configs.lora import LoraConfig
from configs.persona import PersonaConfig
from configs.prompts import GateConfig, OverlapConfig, PromptsConfig
from configs.report import ReportConfig
from configs.sections import (
    CheckpointConfig,
    ClusterConfig,
    EngineConfig,
    EvalConfig,
    GymConfig,
    ModelConfig,
    QuantConfig,
    RewardConfig,
    RolloutConfig,
    TemperatureConfig,
    TinyModelConfig,
)

__all__ = [
    "AlarmConfig",
    "CalibrationConfig",
    "CheckpointConfig",
    "ClusterConfig",
    "Config",
    "EngineConfig",
    "EvalConfig",
    "GateConfig",
    "GymConfig",
    "JudgeConfig",
    "JudgeEndpointConfig",
    "LearnerConfig",
    "LengthRewardConfig",
    "LoraConfig",
    "MismatchConfig",
    "ModelConfig",
    "OverlapConfig",
    "PersonaConfig",
    "PromptsConfig",
    "PtxConfig",
    "PtxSourceConfig",
    "QuantConfig",
    "ReferenceKLConfig",
    "ReportConfig",
    "RewardConfig",
    "RolloutConfig",
    "Section",
    "TemperatureConfig",
    "TinyModelConfig",
    "ToggleConfig",
    "TruncationConfig",
    "WarmupConfig",
]


class Config(Section):
    """A run. Every field can be set in TOML or on the command line as `key.path=value`."""

    name: str = "run"
    """Name of the run, and its default folder under runs/; letters, digits, `.`, `_`, `-`, a letter or digit first."""
    run_dir: Path | None = None
    """Run folder. Default: `runs/<name>`. Absolute under `ray job submit`, where the working directory is a copy."""
    seed: NonNegative = 0
    """Seeds the draws, the sampling, the built model and the data order."""
    num_steps: NonNegative = 20
    """RL steps."""
    model: ModelConfig
    """The policy before training."""
    quant: QuantConfig = QuantConfig()
    """The INT4 grid."""
    gyms: tuple[GymConfig, ...] = ()
    """Sources of tasks."""
    overlap: OverlapConfig = OverlapConfig()
    """Training tasks that held-out data hold too."""
    rollout: RolloutConfig = RolloutConfig()
    """How responses are drawn."""
    engine: EngineConfig = EngineConfig()
    """The vLLM engines."""
    reward: RewardConfig = RewardConfig()
    """How responses are scored."""
    judge: JudgeConfig = JudgeConfig()
    """The critic, for gyms that need a judge."""
    persona: PersonaConfig = PersonaConfig()
    """Who plays a user, for environments that have one."""
    learner: LearnerConfig = LearnerConfig()
    """The policy update."""
    ptx: PtxConfig = PtxConfig()
    """Loss on curated data."""
    warmup: WarmupConfig = WarmupConfig()
    """Supervised phase before step 0."""
    eval: EvalConfig = EvalConfig()
    """Held-out evaluation."""
    alarm: AlarmConfig = AlarmConfig()
    """When the run stops by itself."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """What survives a kill."""
    report: ReportConfig = ReportConfig()
    """What people see."""
    cluster: ClusterConfig = ClusterConfig()
    """Ray, devices and deadlines."""

    @model_validator(mode="after")
    def _name_is_a_folder_name(self) -> Config:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(
                f"name may hold letters, digits, '.', '_' and '-' only, a letter or digit first, got {self.name!r}; "
                "to put the run elsewhere set run_dir"
            )
        return self

    @model_validator(mode="after")
    def _has_gyms_with_unique_names(self) -> Config:
        if not self.gyms:
            raise ValueError("gyms is empty; add at least one [[gyms]] entry, e.g. name = 'arithmetic'")
        names = [gym.name for gym in self.gyms]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"gyms has the name {doubled[0]!r} twice; names must be unique (set `gym` to reuse a gym)")
        return self

    @model_validator(mode="after")
    def _budgets_fit_the_context(self) -> Config:
        for i, gym in enumerate(self.gyms):
            wanted = self.rollout.max_prompt_tokens + gym.longest
            if wanted > self.model.context_length:
                given = ("context_tokens", "episode_tokens", "budget")
                key = next(key for key in given if getattr(gym, key) is not None)
                raise ValueError(
                    f"gyms.{i}.{key} = {gym.longest} ({gym.name}) and rollout.max_prompt_tokens = "
                    f"{self.rollout.max_prompt_tokens} need {wanted} tokens, but model.context_length is "
                    f"{self.model.context_length}; lower the budget or raise the context"
                )
        return self

    @model_validator(mode="after")
    def _ramps_fit_the_budgets(self) -> Config:
        for i, gym in enumerate(self.gyms):
            rule = self.truncation_of(gym)
            if (rule.ramp_tokens or 0) > gym.longest:
                key = "reward" if gym.truncation is None else f"gyms.{i}"
                raise ValueError(
                    f"{key}.truncation.ramp_tokens = {rule.ramp_tokens} is more than the budget of the gym "
                    f"{gym.name!r}, {gym.longest}; lower it"
                )
        return self

    def truncation_of(self, gym: GymConfig) -> TruncationConfig:
        """The rule for truncated samples of a gym."""
        return gym.truncation or self.reward.truncation

    @model_validator(mode="after")
    def _a_sequence_fits_a_microbatch(self) -> Config:
        longest = self.rollout.max_prompt_tokens + max(gym.longest for gym in self.gyms) if self.gyms else 0
        if self.learner.max_microbatch_tokens < longest:
            raise ValueError(
                f"learner.max_microbatch_tokens = {self.learner.max_microbatch_tokens} is less than one longest "
                f"sequence of {longest} tokens (rollout.max_prompt_tokens + the largest budget or episode); raise it"
            )
        return self

    @model_validator(mode="after")
    def _ptx_has_a_source_where_it_is_used(self) -> Config:
        names = [gym.name for gym in self.gyms]
        for place, source in enumerate(self.ptx.sources):
            if unknown := set(source.gyms) - set(names):
                key = f"ptx.more.{place - 1}.gym" if place else "ptx.source.gym"
                raise ValueError(f"{key} = {min(unknown)!r} is none of this config's gyms: {', '.join(names)}")
        if not self.ptx.source.is_set:
            given = {
                "ptx.coef": self.ptx.coef, "ptx.num_heldout": self.ptx.num_heldout,
                "warmup.num_steps": self.warmup.num_steps,
            }  # fmt: skip
            if used := [key for key, on in given.items() if on]:
                raise ValueError(f"{used[0]} is set, but ptx.source is not; set ptx.source.gym, .jsonl or .dataset")
        return self

    @model_validator(mode="after")
    def _minibatches_divide_the_draws(self) -> Config:
        if self.rollout.prompts_per_step % self.learner.num_minibatches:
            raise ValueError(
                f"rollout.prompts_per_step = {self.rollout.prompts_per_step} is not a multiple of "
                f"learner.num_minibatches = {self.learner.num_minibatches}"
            )
        return self

    @model_validator(mode="after")
    def _refilled_groups_are_left_out(self) -> Config:
        if self.rollout.prompts.max_refills and not self.learner.drop_zero_spread:
            raise ValueError(
                f"rollout.prompts.max_refills = {self.rollout.prompts.max_refills} draws others in the place of groups "
                "without spread, but learner.drop_zero_spread = false learns from those groups; remove one"
            )
        if self.rollout.prompts.max_refills and self.learner.advantage:
            raise ValueError(
                f"rollout.prompts.max_refills = {self.rollout.prompts.max_refills} draws others in the place of groups "
                f"whose rewards are equal, but learner.advantage = {self.learner.advantage!r} may learn from those; "
                "remove one"
            )
        return self

    @model_validator(mode="after")
    def _what_is_drawn_ahead_depends_on_no_later_step(self) -> Config:
        if not self.rollout.steps_ahead:
            return self
        if not self.cluster.separate:
            raise ValueError(
                "rollout.steps_ahead = 1 has the engines draw while the learner learns, but they take turns on the "
                "same devices; set cluster.separate = true"
            )
        refused = {
            "rollout.segment_tokens": self.rollout.segment_tokens is not None,
            'rollout.stale_tokens = "mask" (nothing would be learned from)': self.rollout.stale_tokens == "mask",
            "reward.toggle.period": self.reward.toggle.period is not None,
        }
        for what in (name for name, is_set in refused.items() if is_set):
            raise ValueError(f"rollout.steps_ahead = 1 does not go together with {what}; remove one of them")
        return self

    @model_validator(mode="after")
    def _what_is_borrowed_is_on_the_same_device(self) -> Config:
        refused = {
            "cluster.separate": self.cluster.separate,
            f"learner.num_ranks = {self.learner.num_ranks}": self.learner.num_ranks > 1,
            f"engine.tensor_parallel = {self.engine.tensor_parallel}": self.engine.tensor_parallel > 1,
        }
        for what in (name for name, is_set in refused.items() if is_set and self.engine.borrow_weights):
            raise ValueError(
                "engine.borrow_weights has an engine read the learner's memory, which must be whole and on its device; "
                f"{what} forbids that: remove one of them"
            )
        return self

    @property
    def temperature_schedule(self) -> tuple[float, float, int, str, int]:
        """`rollout.temperature`, resolved: arguments of `rl.schedule.temperature_at`."""
        return self.rollout.temperature.schedule(self.num_steps)

    @property
    def gym_temperature_schedules(self) -> dict[str, tuple[float, float, int, str, int]]:
        """The same of the gyms that have their own."""
        return {gym.name: gym.temperature.schedule(self.num_steps) for gym in self.gyms if gym.temperature is not None}
