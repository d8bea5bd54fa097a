"""The sections of a config: every setting with its unit, range and default. `configs.schema` ties them together.

Everything is a pydantic model and nothing heavier is imported. A docstring under a field is its documentation, from
which docs/configuration.md is made.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from configs.base import Fraction, MomentDecay, NonNegative, Positive, Seconds, Section
from configs.lengths import LengthRewardConfig, ToggleConfig, TruncationConfig
from configs.lora import LoraConfig
from configs.prompts import PromptsConfig

__all__ = [
    "CheckpointConfig",
    "ClusterConfig",
    "EngineConfig",
    "EvalConfig",
    "GymConfig",
    "LearnerConfig",
    "MismatchConfig",
    "ModelConfig",
    "QuantConfig",
    "ReferenceKLConfig",
    "RewardConfig",
    "RolloutConfig",
    "TemperatureConfig",
    "TinyModelConfig",
]


LOSSES = ("k2_seq", "k25_token", "grpo", "gspo", "cispo", "reinforce")
"""Built-in values of `learner.loss`."""
LOSS_GROUP = "k2rl_losses"
ADVANTAGE_GROUP = "k2rl_advantages"
"""Entry-point groups in which packages offer others."""


class TinyModelConfig(Section):
    """A small model over single characters, built with random weights: `model.source = "tiny"`. A Llama, or with
    experts a Qwen3-MoE."""

    hidden_size: Annotated[int, Field(gt=0, multiple_of=32)] = 128
    """Width; a multiple of 32 and of `num_heads`."""
    num_layers: Positive = 4
    """Decoder layers."""
    num_heads: Positive = 4
    """Attention heads; `hidden_size / num_heads` must be 32 or more for the engine."""
    intermediate_size: Annotated[int, Field(gt=0, multiple_of=32)] = 384
    """Width of the MLP, or of each expert; a multiple of 32."""
    num_experts: NonNegative = 0
    """Experts of a layer, in the place of one MLP; 0: none."""
    experts_per_token: Positive = 2
    """Experts that a token is sent to."""
    alphabet: str = "0123456789+-*=? "
    """Characters that become tokens, one each."""

    @model_validator(mode="after")
    def _heads_fit_the_width(self) -> TinyModelConfig:
        if self.hidden_size % self.num_heads or self.hidden_size // self.num_heads < 32:
            raise ValueError(
                f"model.tiny.num_heads = {self.num_heads} does not split model.tiny.hidden_size = {self.hidden_size} "
                f"into whole heads of 32 or more; take at most {self.hidden_size // 32} heads"
            )
        if 0 < self.num_experts < self.experts_per_token:
            raise ValueError(
                f"model.tiny.experts_per_token = {self.experts_per_token} is more than model.tiny.num_experts = "
                f"{self.num_experts}"
            )
        return self


class ModelConfig(Section):
    """The policy before training."""

    source: Literal["folder", "tiny"] = "folder"
    """`folder`: a Hugging Face folder at `path`. `tiny`: built by the project itself into the run folder."""
    path: Path | None = None
    """Folder with config.json, safetensors weights and tokenizer, in BF16 or FP32. Only for `source = "folder"`."""
    tiny: TinyModelConfig = TinyModelConfig()
    """Shape of the built model. Only for `source = "tiny"`."""
    context_length: Positive = 2048
    """Most tokens of prompt and response together that the engines serve."""
    chat_template: bool = True
    """Render prompts with the tokenizer's chat template. False: the contents of the messages, joined. Either way the
    name of a special token inside a message is text, never the token."""
    system_prompt: str | None = None
    """System message put before prompts that have none of their own; "" is an empty one, which stops a template from
    adding its default. Only with `chat_template`."""

    tool_format: Literal["hermes", "kimi_k2", "llama3_json", "pythonic"] | None = None
    """How the model writes tool calls, for gyms of many turns. Default: as its chat template says; `hermes` where it
    knows no tools, `pythonic` for bare prompts."""

    thoughts: tuple[str, ...] | None = None
    """What opens and what closes the model's thoughts, such as `["<think>", "</think>"]`; `[]` for a model without.
    Thoughts are cut before any gym or judge reads a response; those that never end score nothing. Default: the marks
    that the chat template shows, and every pair in use where it shows none (gyms/response.py)."""

    @model_validator(mode="after")
    def _thoughts_are_two_marks(self) -> ModelConfig:
        marks = self.thoughts
        if marks and (len(marks) != 2 or not all(mark.strip() for mark in marks) or marks[0] == marks[1]):
            raise ValueError(
                f"model.thoughts = {list(marks)} must hold two different texts, what opens thoughts and what closes "
                'them, such as ["<think>", "</think>"]; [] for a model without'
            )
        return self

    @model_validator(mode="after")
    def _system_prompt_needs_template(self) -> ModelConfig:
        if self.system_prompt is not None and not self.chat_template:
            raise ValueError("model.system_prompt is set but model.chat_template = false has no roles; remove one")
        return self

    @model_validator(mode="after")
    def _folder_needs_path(self) -> ModelConfig:
        if self.source == "folder" and self.path is None:
            raise ValueError('model.path is missing; model.source = "folder" needs the path of a Hugging Face folder')
        if self.source == "tiny" and self.path is not None:
            raise ValueError('model.path is set but model.source = "tiny" builds its own model; remove one of the two')
        return self


class QuantConfig(Section):
    """The INT4 grid, shared by learner, packer, exporter and engines (docs/int4.md)."""

    group_size: Positive = 32
    """Weights along the input dimension that share one scale."""
    ignore: tuple[str, ...] = (
        "lm_head",
        r"re:.*\.lm_head$",
        "re:.*embed.*",
        "re:.*norm.*",
        r"re:.*\.gate$",
        "re:.*shared_expert_gate$",
        "re:.*router.*",
    )
    """Modules that stay in BF16: names, or regular expressions behind `re:`."""
    fake_quantize: bool = True
    """Train through the INT4 grid. False is a control for experiments: the engine then serves other weights."""

    @model_validator(mode="after")
    def _patterns_compile(self) -> QuantConfig:
        for i, entry in enumerate(self.ignore):
            try:
                re.compile(entry.removeprefix("re:") if entry.startswith("re:") else "")
            except re.error as error:
                raise ValueError(f"quant.ignore.{i} = {entry!r} is no regular expression: {error}") from error
        return self


class TemperatureConfig(Section):
    """Sampling temperature over the run: from `start` to `end` (Kimi K2, section 3.2.3)."""

    start: Annotated[float, Field(gt=0.0, le=4.0)] = 1.0
    """Temperature of step 0."""
    end: Annotated[float, Field(gt=0.0, le=4.0)] = 0.8
    """Temperature from step `decay_steps` on."""
    decay_steps: Positive | None = None
    """Steps from `start` to `end`. Default: `num_steps - 1`."""
    shape: Literal["linear", "cosine", "stepwise"] = "linear"
    """`linear`. `cosine`: slow at both ends. `stepwise`: constant, with `num_stairs` sudden changes of equal size."""
    num_stairs: Positive = 4
    """Changes of `shape = "stepwise"`, the last one at `decay_steps`."""

    def schedule(self, num_steps: int) -> tuple[float, float, int, str, int]:
        """Arguments of `rl.schedule.temperature_at`."""
        return self.start, self.end, self.decay_steps or num_steps - 1, self.shape, self.num_stairs


class GymConfig(Section):
    """One source of tasks: an entry of `[[gyms]]`."""

    name: str
    """Name in metrics and rollouts, unique in the config; letters, digits, `_` and `-`."""
    gym: str = ""
    """Which gym: a name of the entry-point group `reward_gyms`, `module:Class`, or `file.py:Class`. Default: `name`."""
    share: Annotated[float, Field(gt=0.0)] = 1.0
    """Share of the draws, relative to the other gyms' shares; kept exactly over time."""
    budget: Positive = 256
    """Most tokens of one response; of a gym of many turns, of one turn."""
    max_turns: Positive | None = None
    """Most turns of an episode, for gyms of many turns. Default: what the gym declares."""
    episode_tokens: Positive | None = None
    """Most tokens of an episode behind its prompt, the policy's and those it observes; gyms of many turns need it."""
    truncation: TruncationConfig | None = None
    """This gym's rule for truncated samples. None: `reward.truncation`."""
    temperature: TemperatureConfig | None = None
    """This gym's sampling temperature over the run. None: `rollout.temperature`."""
    context: Literal["fail", "hide_tools", "keep_last", "discard_all"] = "fail"
    """What becomes of an episode's context that has grown to `context_tokens` (docs/environments.md): the episode ends;
    the results of tools are hidden, but for the latest round's; all but the latest round is left out; all is."""
    context_tokens: Positive | None = None
    """Most tokens of an episode's context behind its prompt, the budget of the next turn included; all values of
    `context` but `fail` need it. An episode may then have more tokens than the model's context."""
    args: dict[str, Any] = Field(default_factory=dict)
    """The gym's own settings; `python -m gyms info NAME` lists them."""

    @model_validator(mode="before")
    @classmethod
    def _gym_defaults_to_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("name"), str) and not data.get("gym"):
            return {**data, "gym": data["name"]}
        return data

    @property
    def longest(self) -> int:
        """Most tokens behind a prompt."""
        return self.context_tokens or self.episode_tokens or self.budget

    @model_validator(mode="after")
    def _a_context_has_a_rule_and_a_limit(self) -> GymConfig:
        if (self.context == "fail") != (self.context_tokens is None):
            raise ValueError(
                f"the gym {self.name!r} has context = {self.context!r} and context_tokens = {self.context_tokens}; "
                'context = "hide_tools", "keep_last" or "discard_all" goes with context_tokens, "fail" without'
            )
        if self.context_tokens is not None and not self.budget <= self.context_tokens < (self.episode_tokens or 0):
            raise ValueError(
                f"the gym {self.name!r} has context_tokens = {self.context_tokens}; expected at least the budget of "
                f"one turn, {self.budget}, and less than episode_tokens = {self.episode_tokens}"
            )
        return self

    @model_validator(mode="after")
    def _an_episode_holds_a_turn(self) -> GymConfig:
        if self.episode_tokens is not None and self.episode_tokens < self.budget:
            raise ValueError(
                f"the gym {self.name!r} has episode_tokens = {self.episode_tokens}, less than the budget of one turn, "
                f"{self.budget}; raise the one or lower the other"
            )
        return self

    @model_validator(mode="after")
    def _name_is_plain(self) -> GymConfig:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise ValueError(f"a gym's name may hold letters, digits, '_' and '-' only, got {self.name!r}")
        return self


class RolloutConfig(Section):
    """How responses are drawn."""

    prompts_per_step: Positive = 16
    """Draws per step (P)."""
    samples_per_prompt: Annotated[int, Field(ge=2)] = 8
    """Siblings per draw (K); their mean reward is the baseline."""
    max_prompt_tokens: Positive = 1024
    """Longest prompt of a task, in tokens; `long_prompts` says what becomes of a longer one."""
    long_prompts: Literal["refuse", "drop"] = "refuse"
    """What becomes of tasks whose prompt is longer than `max_prompt_tokens`, is empty, or cannot be rendered. `refuse`:
    the run does not start. `drop`: another task is drawn in their place; the start says how many there are."""
    segment_tokens: Positive | None = None
    """Most new tokens of a response in one step; what is unfinished goes on in the next, under its weights (partial
    rollouts, docs/algorithm.md). An episode of many turns pauses behind the turn with which it has sampled so many.
    Default: all end in the step that began them."""
    stale_tokens: Literal["learn", "mask"] = "learn"
    """Tokens that older weights drew: `learn` from them, with the weights of `learner.mismatch`, or `mask` them out of
    the loss. Only with `segment_tokens`."""
    temperature: TemperatureConfig = TemperatureConfig()
    """Decaying sampling temperature; a gym may have its own."""
    prompts: PromptsConfig = PromptsConfig()
    """Which tasks are asked."""


class EngineConfig(Section):
    """The vLLM engines."""

    num_engines: Positive = 1
    """Engines; the next group goes to the one that has least to do."""
    kv_cache_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    """Memory of one engine's KV cache in bytes; never a fraction of the device."""
    block_size: Annotated[int, Field(gt=0, multiple_of=32)] = 32
    """Tokens of one KV block; a multiple of 32 on CPU."""
    max_num_seqs: Positive = 128
    """Most responses that decode at the same time on one engine."""


class RewardConfig(Section):
    """How responses are scored."""

    num_workers: Positive = 1
    """Verifier processes; each is killed and replaced when a score overruns its gym's limit."""
    truncation: TruncationConfig = TruncationConfig()
    """Rule for truncated samples; a gym may have its own."""
    length: LengthRewardConfig = LengthRewardConfig()
    """Reward for brevity."""
    toggle: ToggleConfig = ToggleConfig()
    """Phases with budgets of each task."""
    max_masked_frac: Fraction = 0.2
    """The run stops when more than this fraction of a step's samples was masked for faults of ours."""


class MismatchConfig(Section):
    """What the loss does where engine and learner give a token different probabilities (docs/algorithm.md)."""

    correction: Literal["token_cap", "sequence_cap", "token_band", "sequence_band", "policy_band"] | None = "token_cap"
    """`token_cap`: a token weighs learner over engine, at most `high`. `sequence_cap`: so does the whole response.
    `token_band`: the same weight, 0 outside of [`low`, `high`] (IcePop). `sequence_band`: so for the whole response.
    `policy_band`: 0 where the policy of the update over the engine is outside, else 1 (Kimi K2.5). None: 1 for all."""
    low: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Lower end of a band of probability ratios. IcePop: 0.5."""
    high: Annotated[float, Field(ge=1.0)] = 2.0
    """Cap, or upper end of a band. IcePop: 5."""


class ReferenceKLConfig(Section):
    """A pull towards the policy that RL began with (docs/algorithm.md); Kimi has none."""

    coef: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight of the divergence from it, in reward per nat and token. 0: none, and no copy of its weights is kept."""
    estimator: Literal["k1", "k2", "k3"] = "k3"
    """Of the divergence, on the sampled tokens (Schulman 2020)."""


class LearnerConfig(Section):
    """The policy update (docs/algorithm.md)."""

    loss: str = "k2_seq"
    """`k2_seq`: squared objective on whole responses (Kimi K1.5/K2). `k25_token`: clipped, per token (Kimi K2.5).
    `grpo`: PPO's clip per token. `gspo`: the same per response. `cispo`: bounded weights (MiniMax-M1). `reinforce`. One
    of your own: `module:function`, or an entry point of the group `k2rl_losses` (docs/algorithm.md)."""
    aggregation: Literal["token", "sample", "sum"] | None = None
    """Mean over all tokens; over samples of their means; over samples of their sums. None: as the loss was published:
    `k25_token`, `cispo` by token, `grpo` by sample, `reinforce` by sum. `k2_seq` and `gspo` have no other."""
    baseline: Literal["mean", "leave_one_out", "log_mean_exp"] = "mean"
    """Taken from a reward to make an advantage: the mean of all siblings, of the others (RLOO), or tau log mean exp(r /
    tau) (K1.5)."""
    advantage: str | None = None
    """One of your own in the place of `baseline` and `scale_by_std`: `module:function`, or an entry point of the group
    `k2rl_advantages` (docs/algorithm.md)."""
    scale_by_std: bool = False
    """Divide advantages by the standard deviation of their group's rewards (GRPO); Kimi does not."""
    tau: Annotated[float, Field(ge=0.0)] = 0.05
    """Weight of the log-ratio term of `k2_seq`, of `k25_token` (about 1e-3), of `baseline = "log_mean_exp"`."""
    clip_low: Annotated[float, Field(lt=0.0)] = -0.6931
    """Lower bound of the log-ratio in nats, for losses that have bounds. PPO's 0.2: -0.2231. `gspo`: about -3e-4."""
    clip_high: Annotated[float, Field(gt=0.0)] = 0.6931
    """Upper bound. PPO's 0.2: 0.1823; DAPO's 0.28: 0.2469. `gspo`: about 4e-4."""
    mismatch: MismatchConfig = MismatchConfig()
    """Correction for the engine's own rounding."""
    reference_kl: ReferenceKLConfig = ReferenceKLConfig()
    """Pull towards the first policy."""
    drop_zero_spread: bool = True
    """Leave out groups whose rewards are all equal: their advantages are zero."""
    lr: Annotated[float, Field(ge=0.0)] = 1e-6
    """Peak learning rate."""
    lr_ramp_steps: NonNegative = 2
    """Steps over which the learning rate rises linearly from 0 to `lr`."""
    lr_end_frac: Fraction = 1.0
    """Learning rate at the last step as a fraction of `lr`; linear in between."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon`: on every matrix but embedding and head, as Kimi K2; AdamW on the rest, at the same learning rate."""
    momentum: MomentDecay = 0.95
    """Muon's."""
    betas: tuple[MomentDecay, MomentDecay] = (0.9, 0.95)
    """AdamW moment decays."""
    qk_clip: Annotated[float, Field(gt=0.0)] | None = None
    """QK-Clip: largest attention logit of a head; the weights of one above are scaled down after the update (Kimi K2:
    100). None: no clipping, and logits are not measured. Not for models that normalise queries and keys."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Weight decay, on matrices only."""
    reset_optimizer: bool = False
    """Start the optimiser's moments anew at every step, as Kimi K1.5 does: each step is another problem."""
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Keep a running average of the weights over updates, and export and evaluate it beside the last ones
    (`export_ema/`). None: no average."""
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    """Gradients are scaled down to this global norm."""
    num_minibatches: Positive = 1
    """Optimiser updates per step; with 1 the log-ratio is 0 and tau has no effect."""
    max_microbatch_tokens: Positive = 2048
    """Most tokens of one forward pass, padding and prompts included; bounds memory, never changes the loss."""
    gradient_checkpointing: bool = False
    """Layers keep their inputs alone for the backward pass, and are computed twice: a third more work, a fraction of
    the memory of long responses, the same numbers."""
    compute_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Type of activations and gradients. Masters and optimiser are always fp32."""
    num_ranks: Positive = 1
    """Processes that the learner is spread over, rank i in bundle i beside engine i. Each holds a part of masters,
    moments and gradients, and learns from its share of a minibatch (docs/ranks.md)."""
    frozen: tuple[str, ...] = ()
    """Parameters that are not trained: names as in transformers, or regular expressions behind `re:`, such as
    "re:.*embed_tokens.*"."""
    lora: LoraConfig = LoraConfig()
    """Adapters instead of full training."""

    @model_validator(mode="after")
    def _adapters_fit(self) -> LearnerConfig:
        if self.lora.rank and self.frozen:
            raise ValueError("learner.lora.rank > 0 trains nothing but adapters: leave learner.frozen out")
        if self.lora.rank and self.optimizer == "muon":
            raise ValueError(
                'learner.optimizer = "muon" is for whole matrices, not for the factors of learner.lora; take "adamw"'
            )
        if self.qk_clip is not None and (self.lora.rank or self.frozen):
            raise ValueError(
                "learner.qk_clip scales masters of attention, which learner.lora and learner.frozen have not"
            )
        if self.num_ranks > 1 and (self.lora.rank or self.frozen):
            raise ValueError(
                f"learner.num_ranks = {self.num_ranks} ranks train whole models: leave learner.lora and learner.frozen "
                "out, or set learner.num_ranks = 1"
            )
        for i, entry in enumerate(self.frozen):
            try:
                re.compile(entry.removeprefix("re:") if entry.startswith("re:") else "")
            except re.error as error:
                raise ValueError(f"learner.frozen.{i} = {entry!r} is no regular expression: {error}") from error
        return self

    @model_validator(mode="after")
    def _loss_is_known(self) -> LearnerConfig:
        if ":" in self.loss or self.loss in LOSSES:
            return self
        offered = {entry.name for entry in entry_points(group=LOSS_GROUP)}
        if self.loss not in offered:
            known = [*LOSSES, *sorted(offered)]
            nearest = get_close_matches(self.loss, known, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"learner.loss = {self.loss!r} is none of {', '.join(known)}, nor module:function{hint}")
        return self

    @model_validator(mode="after")
    def _advantage_is_known_and_alone(self) -> LearnerConfig:
        if self.advantage is None:
            return self
        if self.baseline != "mean" or self.scale_by_std:
            raise ValueError(
                f"learner.advantage = {self.advantage!r} takes the place of learner.baseline and learner.scale_by_std; "
                "leave those out"
            )
        offered = sorted({entry.name for entry in entry_points(group=ADVANTAGE_GROUP)})
        if ":" not in self.advantage and self.advantage not in offered:
            known = ", ".join(offered) or "no installed package offers any"
            raise ValueError(f"learner.advantage = {self.advantage!r} is neither module:function nor offered: {known}")
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> LearnerConfig:
        if self.loss in ("k2_seq", "gspo") and self.aggregation is not None:
            raise ValueError(
                f"learner.aggregation = {self.aggregation!r} has no meaning for learner.loss = {self.loss!r}, whose "
                "ratio is that of the whole response: leave it out"
            )
        if self.num_ranks > 1 and (self.reference_kl.coef or self.ema_decay is not None):
            raise ValueError(
                f"learner.reference_kl and learner.ema_decay keep whole weights, and learner.num_ranks = "
                f"{self.num_ranks} ranks hold parts of them: leave both out, or set learner.num_ranks = 1"
            )
        if self.num_ranks > 1 and self.qk_clip is not None:
            raise ValueError(
                f"learner.qk_clip = {self.qk_clip:g} scales whole heads, and learner.num_ranks = {self.num_ranks} "
                "ranks hold parts of them: leave it out (=none), or set learner.num_ranks = 1"
            )
        if self.num_ranks > 1 and self.optimizer == "muon":
            raise ValueError(
                f'learner.optimizer = "muon" orthogonalises whole matrices, and learner.num_ranks = {self.num_ranks} '
                'ranks hold parts of them: set learner.optimizer = "adamw", or learner.num_ranks = 1'
            )
        if self.baseline == "log_mean_exp" and self.tau == 0:
            raise ValueError('learner.baseline = "log_mean_exp" needs learner.tau > 0')
        return self


class EvalConfig(Section):
    """Held-out evaluation."""

    every: NonNegative = 0
    """Steps between evaluations during the run; 0: only at the start and at the end."""
    num_tasks: Positive = 300
    """Held-out tasks per gym, the same ones every time."""
    num_untrained_tasks: Positive | None = None
    """The first so many of them for the evaluations before the warm-up (as released, rounded to INT4), whose responses
    often run to their full budget without an answer; at most `num_tasks`. None: all."""
    temperature: Annotated[float, Field(gt=0.0, le=4.0)] = 1.0
    """Temperature of the sampled evaluation; greedy is always evaluated."""
    samples_per_task: Positive = 1
    """k: sampled responses a task, for avg@k and, above 1, pass@k."""
    compare_unquantised: bool = False
    """Also evaluate the model as released, in BF16, on engines of its own before the run (final table)."""

    @model_validator(mode="after")
    def _untrained_tasks_are_some_of_all(self) -> EvalConfig:
        if self.num_untrained_tasks is not None and self.num_untrained_tasks > self.num_tasks:
            raise ValueError(
                f"num_untrained_tasks = {self.num_untrained_tasks} is more than num_tasks = {self.num_tasks}; lower it"
            )
        return self


class CheckpointConfig(Section):
    """What survives a kill."""

    every: NonNegative = 10
    """Steps between checkpoints; one is always written after the warm-up, at the end, and on Ctrl-C. 0: only those."""
    keep: Positive = 2
    """Newest checkpoints that are kept."""
    meanwhile: bool = True
    """Write while engines sample the next step, where the learner need not give them its memory. False: the run waits
    for every checkpoint."""


class ClusterConfig(Section):
    """Ray, devices and deadlines."""

    address: str | None = None
    """Ray address; None: the job's cluster under `ray job submit`, else a cluster started for this run."""
    cpus_per_bundle: Positive | None = None
    """CPUs of each bundle, which an engine and a rank of the learner share in turns. None: the cluster's CPUs over the
    bundles, as many as there are engines or ranks, whichever are more."""
    object_store_bytes: Annotated[int, Field(ge=78643200)] = 512 << 20
    """Object store of a cluster started for this run; must hold two packed models."""
    start_seconds: Seconds = 300.0
    """Deadline for an actor to start, its model loaded."""
    generate_seconds: Seconds = 1800.0
    """Deadline for one phase of sampling (a step's rollout, or one evaluation)."""
    update_seconds: Seconds = 1800.0
    """Deadline for one optimiser update, or one pass of old log-probabilities."""
    swap_seconds: Seconds = 300.0
    """Deadline for packing or swapping weights."""
    save_seconds: Seconds = 600.0
    """Deadline for writing or reading a checkpoint or an export."""
    max_restarts: NonNegative = 2
    """Times that lost actors are rebuilt within `restart_window_steps` steps before the run stops."""
    restart_window_steps: Positive = 50
    """Steps over which `max_restarts` counts: older faults are forgotten."""
