"""The sections of a config: every setting with its unit, range and default. `configs.schema` ties them together.

Everything is a pydantic model and nothing heavier is imported. A docstring under a field is its documentation, from
which docs/configuration.md is made.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from configs.base import Fraction, NonNegative, Positive, Seconds, Section
from configs.lengths import LengthRewardConfig, RepetitionConfig, ToggleConfig, TruncationConfig
from configs.prompts import PromptsConfig

__all__ = [
    "CheckpointConfig",
    "ClusterConfig",
    "EngineConfig",
    "EvalConfig",
    "GymConfig",
    "ModelConfig",
    "QuantConfig",
    "RewardConfig",
    "RolloutConfig",
    "TemperatureConfig",
    "TinyModelConfig",
]


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
    """How the model writes tool calls, for gyms of many turns. Default: as its chat template does, and where that is in
    no form of these, `hermes`, which a system message then tells; `pythonic` for bare prompts."""

    thoughts: tuple[str, ...] | None = None
    """What opens and what closes the model's thoughts, such as `["<think>", "</think>"]`; `[]` for a model without.
    Thoughts are cut before any gym or judge reads a response; those that never end score nothing. Default: the marks
    that the chat template shows, and every pair in use where it shows none (gyms/response.py)."""

    earlier_thoughts: Literal["template", "keep"] = "template"
    """What of the thoughts of earlier turns stands in the context of the next one, for gyms of many turns. `template`:
    what the chat template shows of them, as where the model is served; where it leaves some out, an episode is learned
    as several sequences. `keep`: all, so that an episode's context only grows."""

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
    bf16_masters: bool = False
    """Round the masters to BF16 after each update. A control for experiments: it saves no memory, and what is below
    half of a weight's last place is lost."""

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
    golds: Literal["auto", "all", "sample"] = "auto"
    """Which worked answers are scored before the run starts, so that a task whose own answer fails is not asked, in
    training or held out: `all`; a `sample` of eight a split, which only finds a broken gym; `auto`: all where the gym
    runs submitted code. Verdicts are kept in `.golds/` beside the run folder: a second start runs nothing, and a run
    that goes on leaves out what it left out when it began. Of gyms of many turns, a sample."""
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
    """What becomes of tasks whose prompt is longer than `max_prompt_tokens`, is empty, or cannot be rendered, or whose
    persona leaves no room for an answer of `persona.max_tokens`. `refuse`: the run does not start. `drop`: another task
    is drawn in their place; the start says how many there are."""
    segment_tokens: Positive | None = None
    """Most new tokens of a response in one step; what is unfinished goes on in the next, under its weights (partial
    rollouts, docs/algorithm.md). An episode of many turns pauses behind the turn with which it has sampled so many.
    Default: all end in the step that began them."""
    steps_ahead: Annotated[int, Field(ge=0, le=1)] = 0
    """1: the engines draw the next step while the learner learns this one, so that every step but the first is drawn by
    weights that are one update old (one step off, docs/algorithm.md). Needs `cluster.separate`."""
    stale_tokens: Literal["learn", "mask"] = "learn"
    """Tokens that older weights drew: `learn` from them, with the weights of `learner.mismatch`, or `mask` them out of
    the loss."""
    temperature: TemperatureConfig = TemperatureConfig()
    """Decaying sampling temperature; a gym may have its own."""
    repetition: RepetitionConfig = RepetitionConfig()
    """Early stop of responses that repeat themselves."""
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
    tensor_parallel: Positive = 1
    """Processes among which an engine's matrices are cut, by rows or by columns; they share its bundle. On GPUs each
    has one of the same node; it has not run there (docs/scale.md)."""
    bf16_copy: bool = False
    """On CPUs: multiply by a BF16 copy of the values of INT4 layers, made with every version; the experts of a layer
    have none. Faster where the CPU has no AMX (docs/int4.md, On a CPU), and two bytes a weight more, in a swap four."""
    borrow_weights: bool = False
    """A swap reads the packed weights in the learner's memory, where both take turns on one GPU, and not in the host's
    (docs/gpu.md, From device to device). For one rank and engines of one GPU each; it has not run on a GPU."""


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
    heavy: NonNegative = 0
    """Heavy mode: one more attempt a task, at the same temperature, that is shown what so many of the k sampled ones
    answered (rl/heavy.py). 0: none; at most `samples_per_task`."""
    compare_unquantised: bool = False
    """Also evaluate the model as released, in BF16, on engines of its own before the run (final table)."""

    @model_validator(mode="after")
    def _heavy_sees_sampled_responses(self) -> EvalConfig:
        if self.heavy == 1 or self.heavy > self.samples_per_task:
            raise ValueError(
                f"eval.heavy = {self.heavy}: the attempts that are put together are sampled, at least 2 and at most "
                f"eval.samples_per_task = {self.samples_per_task}; raise that, or set 0 for none"
            )
        return self

    @model_validator(mode="after")
    def _untrained_tasks_are_some_of_all(self) -> EvalConfig:
        if self.num_untrained_tasks is not None and self.num_untrained_tasks > self.num_tasks:
            raise ValueError(
                f"eval.num_untrained_tasks = {self.num_untrained_tasks} is more than eval.num_tasks = "
                f"{self.num_tasks}; lower it"
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
    separate: bool = False
    """Engines and ranks of the learner have bundles of their own, in the place of sharing them in turns."""
    cpus_per_bundle: Positive | None = None
    """CPUs of each bundle, which an engine and a rank of the learner share in turns. None: as many as fit on the
    cluster's nodes (those with GPUs, if any) for as many bundles as there are engines or ranks, whichever are more;
    with `separate`, as engines and ranks together."""
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
