"""From TOML files and `key.path=value` overrides to a checked `Config`; from one config to the next of the same run.

Files merge left to right, then overrides apply in order. What is wrong is told in one `ConfigError`, a line a problem.
Values are checked strictly, as JSON: `true` is no number, `"5"` no integer. TOML has no null, so the text `none` unsets
a setting that may be unset. `model.path` and `ptx.source.jsonl` become absolute here, from the current directory, since
actors may run in another; `run_dir` stays as given: under `ray job submit` a relative one must be refused elsewhere.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from configs.files import ConfigError, layers, merged, placed
from configs.schema import Config, Section

__all__ = [
    "MAY_CHANGE_ON_RESUME",
    "ConfigError",
    "check_same_run",
    "diff",
    "from_json",
    "kept_on_resume",
    "load_config",
    "setting_names",
    "to_json",
]

MAY_CHANGE_ON_RESUME: Mapping[str, str] = {
    "num_steps": "a run may be made longer or shorter; schedules that end at `num_steps` stretch from there on",
    "run_dir": "a run folder may be moved, or named by another path",
    "rollout.max_prompt_tokens": "may be raised while no task was left out for it",
    "rollout.long_prompts": "may change while no task was left out",
    "ptx.long_conversations": "may change while no conversation was left out",
    "learner.gradient_checkpointing": "layers that are computed twice give the same numbers",
    "learner.num_ranks": "ranks add the same numbers up in another order: equal up to rounding, not bit for bit",
    "engine.num_engines": "a sample depends on its request alone; bit for bit with cluster.cpus_per_bundle set",
    "engine.kv_cache_bytes": "a response that finds no room waits, or is computed again, and draws the same",
    "engine.max_num_seqs": "a sample does not depend on how many are drawn beside it",
    "engine.tensor_parallel": "processes round in other places: equal up to rounding, not bit for bit",
    "reward.max_masked_frac": "how many masked samples stop a run changes nothing that it computes",
    "reward.num_workers": "a sample's score does not depend on how many are verified at one time",
    "eval.*": "evaluation reads the policy and never changes it",
    "alarm.*": "an alarm stops a run and changes nothing that it computes",
    "checkpoint.*": "when a run is saved does not change what it computes",
    "report.*": "what is shown does not change what is computed",
    "cluster.*": "a run may move to another machine, and deadlines may be raised after one was missed",
}
"""Settings (patterns) that may differ between a run and its resumption, each with the reason. All others may not. What
depends on what the run did so far is checked by `rl.resume`."""

WANTED = {
    "bool_type": "true or false",
    "dict_type": "a table",
    "float_type": "a number",
    "int_type": "a whole number",
    "model_type": "a table of settings",
    "path_type": "a path in quotes",
    "string_type": "text in quotes",
    "too_long": "at most {max_length} items",
    "tuple_type": "a list",
}
"""What a type of pydantic error asks for, in TOML's words. Other types keep pydantic's words."""

OTHER_DISTRIBUTIONS = (
    "top_p", "top_k", "min_p", "typical_p", "repetition_penalty", "presence_penalty", "frequency_penalty"
)  # fmt: skip
"""Settings of samplers elsewhere that are refused here, with the reason."""
ELSEWHERE: Mapping[str, str] = {
    "num_generations": "rollout.samples_per_prompt", "n": "rollout.samples_per_prompt",
    "generation_batch_size": "rollout.prompts_per_step", "train_batch_size": "rollout.prompts_per_step",
    "steps_per_generation": "counted in micro-batches; learner.num_minibatches counts updates",
    "gradient_accumulation_steps": "not here; learner.num_minibatches counts updates",
    "ppo_mini_batch_size": "a size; learner.num_minibatches is a number",
    "num_iterations": "not here: each sample is learned from once",
    "ppo_epochs": "not here: each sample is learned from once",
    "per_device_train_batch_size": "learner.max_microbatch_tokens",
    "ppo_micro_batch_size_per_gpu": "learner.max_microbatch_tokens",
    "ppo_max_token_len_per_gpu": "learner.max_microbatch_tokens",
    "max_completion_length": "gyms.NAME.budget", "max_response_length": "gyms.NAME.budget",
    "max_prompt_length": "rollout.max_prompt_tokens", "filter_overlong_prompts": "rollout.long_prompts",
    "reward_funcs": "gyms.NAME.gym", "custom_reward_function": "gyms.NAME.gym", "reward_weights": "gyms.NAME.share",
    "loss_type": "learner.loss", "importance_sampling_level": "learner.loss", "loss_mode": "learner.loss",
    "loss_agg_mode": "learner.aggregation", "adv_estimator": "learner.baseline",
    "epsilon": "learner.clip_low", "clip_ratio_low": "learner.clip_low",
    "epsilon_high": "learner.clip_high", "clip_ratio_high": "learner.clip_high",
    "scale_rewards": "learner.scale_by_std", "norm_adv_by_std_in_grpo": "learner.scale_by_std",
    "beta": "learner.reference_kl.coef", "kl_loss_coef": "learner.reference_kl.coef",
    "kl_loss_type": "learner.reference_kl.estimator",
    "mask_truncated_completions": "reward.truncation.rule", "overlong_buffer": "reward.truncation.rule",
    "filter_groups": "rollout.prompts.max_refills",
    "vllm_importance_sampling_correction": "learner.mismatch.correction",
    "rollout_correction": "learner.mismatch.correction",
    "warmup_steps": "learner.lr_ramp_steps", "lr_warmup_steps": "learner.lr_ramp_steps",
    "grad_clip": "learner.max_grad_norm", "enable_gradient_checkpointing": "learner.gradient_checkpointing",
    "peft_config": "learner.lora.rank", "lora_rank": "learner.lora.rank",
    "vllm_gpu_memory_utilization": "engine.kv_cache_bytes", "gpu_memory_utilization": "engine.kv_cache_bytes",
    "vllm_tensor_parallel_size": "engine.tensor_parallel", "tensor_model_parallel_size": "engine.tensor_parallel",
    "max_steps": "num_steps", "total_training_steps": "num_steps",
    "save_steps": "checkpoint.every", "save_freq": "checkpoint.every", "save_total_limit": "checkpoint.keep",
    "resume_from_checkpoint": "the same command again", "resume_mode": "the same command again",
    "eval_steps": "eval.every", "test_freq": "eval.every", "val_kwargs": "eval.samples_per_task",
    "report_to": "report.wandb", "logger": "report.wandb",
    "log_completions": "always on: rollouts/ of the run folder",
    "rollout_data_dir": "always on: rollouts/ of the run folder",
}  # fmt: skip
"""What TRL or verl call a setting (the last word of its name), and what that is here, as docs/from_trl_verl.md says."""
_MAX_DEPTH = 100
"""Tables and lists inside one another; pydantic reads JSON of twice as many levels."""
_TOO_DEEP = f"the settings are nested too deeply: more than {_MAX_DEPTH} levels"


Entry = tuple[dict[str, Any], str, str, FieldInfo | None]
"""A setting that was given: the table that holds it, its name there, its full key, its field (None: unknown)."""


def load_config(files: Sequence[Path], overrides: Sequence[str] = ()) -> Config:
    """The config that `files` (TOML, with their bases; later ones win) and then `overrides` (`key.path=value`, in
    order) add up to."""
    data: dict[str, Any] = {"model": {}, "gyms": []}
    try:
        read = [layer for file in files for layer in layers(_no_setting(Path(file)))]
        for _, tables in read:
            data = merged(data, copy.deepcopy(tables))
        for override in overrides:
            _apply(data, override)
        _refuse_deep(data)
    except RecursionError as error:
        raise ConfigError(_TOO_DEEP) from error
    try:
        return _validated(data)
    except ConfigError as error:
        raise ConfigError(*(placed(problem, read, overrides) for problem in error.problems)) from error
    except RecursionError as error:
        raise ConfigError(_TOO_DEEP) from error


def _no_setting(file: Path) -> Path:
    """The file, which is a setting whose `=` was forgotten where there is none of that name."""
    if re.sub(r"^gyms\.[^.]+\.", "gyms.*.", str(file)) in _settings() and not file.exists():
        raise ConfigError(f"{file} is a setting, and no file; to set it, write {file}=VALUE, without spaces")
    return file


def _refuse_deep(data: dict[str, Any]) -> None:
    """Level by level and without recursion: how deep an interpreter can go differs between versions of Python."""
    level: list[Any] = [data]
    for _ in range(_MAX_DEPTH):
        inner = [part for value in level for part in (value.values() if isinstance(value, dict) else value)]
        level = [part for part in inner if isinstance(part, dict | list)]
        if not level:
            return
    raise ConfigError(_TOO_DEEP)


def to_json(config: Config) -> str:
    """The whole config, defaults included, as written to config.json in the run folder."""
    return config.model_dump_json(indent=2) + "\n"


def from_json(text: str, overrides: Sequence[str] = ()) -> Config:
    """The config that `to_json` wrote, with `key.path=value` applied in order."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"config.json is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"config.json: got {_shown(data)}, wanted an object of settings")
    for override in overrides:
        _apply(data, override)
    return _validated(data)


def diff(old: Config, new: Config) -> list[str]:
    """Keys whose values differ, in the schema's order; those of a gym that only one of the two has come last."""
    before, after = _values(old), _values(new)
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]


def check_same_run(old: Config, new: Config) -> None:
    """Raise ConfigError where `new` cannot resume the run of `old`: a setting outside MAY_CHANGE_ON_RESUME differs."""
    before, after = _values(old), _values(new)
    if changed := [key for key in diff(old, new) if not any(fnmatchcase(key, may) for may in MAY_CHANGE_ON_RESUME)]:
        lines = (f"{key}: the run has {before.get(key, 'none')}, now it is {after.get(key, 'none')}" for key in changed)
        raise ConfigError("a resumed run keeps its settings; set these back, or start a new run:", *lines)


def kept_on_resume(told: str) -> list[str]:
    """The settings that a message names and that a resumed run keeps: whoever follows its advice should know."""
    named = dict.fromkeys(re.findall(r"\b[a-z_]+(?:\.\w+)+", told))
    known = [key for key in named if re.sub(r"^gyms\.[^.]+\.", "gyms.*.", key) in _settings()]
    return [key for key in known if not any(fnmatchcase(key, may) for may in MAY_CHANGE_ON_RESUME)]


def _values(section: Section, prefix: str = "") -> dict[str, str]:
    """Every setting of `section` by its full key, as text."""
    values: dict[str, str] = {}
    written = section.model_dump(mode="json")
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            values |= _values(value, f"{prefix}{name}.")
        elif isinstance(value, tuple) and any(isinstance(item, Section) for item in value):
            for i, item in enumerate(value):
                values |= _values(item, f"{prefix}{name}.{i}.")
        else:
            values[prefix + name] = "none" if value is None else json.dumps(written[name], sort_keys=True)
    return values


def _apply(data: dict[str, Any], override: str) -> None:
    """Set one `key.path=value` in `data`."""
    key, equals, text = override.partition("=")
    names = key.split(".")
    if not equals or not all(names) or key.startswith("-") or " " in key or not override.isprintable():
        raise ConfigError(f"{override!r} is not key.path=value in printable characters; write e.g. learner.lr=1e-6")
    if len(names) > _MAX_DEPTH:  # before each level is made and looked up
        raise ConfigError(_TOO_DEEP)
    here: Any = data
    for depth, name in enumerate(names[:-1], start=1):
        slot = _slot(here, name, names[:depth])
        if isinstance(here, dict):
            here.setdefault(slot, {})
        if not isinstance(here[slot], dict | list):
            raise ConfigError(f"{key} cannot be set: {'.'.join(names[:depth])} was given a value, it is not a table")
        here = here[slot]
    slot, value = _slot(here, names[-1], names), _parsed(text, names)
    old = here.get(slot) if isinstance(here, dict) else here[slot]
    here[slot] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value


def _slot(here: dict[str, Any] | list[Any], name: str, path: list[str]) -> Any:
    """Where `name` is in a table (itself) or in a list (the position of the entry with that name or number)."""
    if isinstance(here, dict):
        return name
    labels = [item.get("name") if isinstance(item, dict) else None for item in here]
    if name in labels:
        return labels.index(name)
    if re.fullmatch("[0-9]{1,6}", name) and int(name) < len(here):
        return int(name)
    there = ", ".join(f"{i} ({label})" for i, label in enumerate(labels)) or "none; a file adds one with [[gyms]]"
    raise ConfigError(f"{'.'.join(path)} does not exist; the entries of {'.'.join(path[:-1])} are {there}")


def _parsed(text: str, names: list[str]) -> Any:
    """`text` as a TOML value, else as it stands; also where the setting is a text and TOML sees a number or a date."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError as error:
        if text.startswith(("[", "{", '"', "'")):
            raise ConfigError(f"{'.'.join(names)}: {text} is not TOML ({error}); text in it needs quotes") from error
        return text
    field = _settings().get(".".join(["gyms", "*", *names[2:]] if names[0] == "gyms" else names))
    is_text = field is not None and bool(_kinds(field) & {str, Path})
    return text if is_text and not isinstance(value, str | list | dict) else value


def _validated(data: dict[str, Any]) -> Config:
    """`data` as a Config."""
    if problems := [problem for entry in _entries(data, Config) if (problem := _settle(*entry))]:
        raise ConfigError(*problems)
    try:
        return Config.model_validate_json(json.dumps(data, default=str), strict=True)  # str: TOML's dates and times
    except ValidationError as error:
        raise ConfigError(*map(_problem, error.errors())) from error
    except ValueError as error:  # json.dumps: Python refuses to write integers of more than 4300 digits
        raise ConfigError(f"a number is too long: {error}") from error


def _settle(table: dict[str, Any], name: str, key: str, field: FieldInfo | None) -> str | None:
    """Settle `none`, `~` and relative paths of one entry in place; what is wrong with it, if anything."""
    if field is None:
        return f"{key} is not a setting{_suggestion(key)}"
    value, kinds = table[name], _kinds(field)
    if value == "none" and NoneType in kinds:
        table[name] = None
    elif value == "" and Path in kinds:
        return f'{key}: got "", wanted a path'
    elif isinstance(value, str) and Path in kinds:
        path = Path(value).expanduser() if value.startswith("~/") else Path(value)
        table[name] = str(path if key == "run_dir" else Path.cwd() / path)
    return None


def _kinds(field: FieldInfo) -> set[Any]:
    """The types a field takes: its annotation and, of a union or a list, the members."""
    return {field.annotation, *get_args(field.annotation)}


def _entries(data: dict[str, Any], section: type[Section], prefix: str = "") -> Iterator[Entry]:
    """Every setting that `data` gives; tables and lists of tables are looked into, a gym's free `args` are not."""
    for name, value in data.items():
        key, field = f"{prefix}{name}", section.model_fields.get(name)
        inner, is_list = _section_of(field) if field else (Section, False)  # Section has no fields: all unknown below
        if inner and not is_list and isinstance(value, dict) and (value or field):
            yield from _entries(value, inner, f"{key}.")
        elif inner and is_list and isinstance(value, list):
            for i, item in enumerate(value):
                yield from _entries(item, inner, f"{key}.{i}.") if isinstance(item, dict) else ()
        else:
            yield data, name, key, field


def _section_of(field: FieldInfo) -> tuple[type[Section] | None, bool]:
    """The section that a field holds, if any, and whether it holds a list of them."""
    section = next((kind for kind in _kinds(field) if isinstance(kind, type) and issubclass(kind, Section)), None)
    return section, section is not field.annotation


def setting_names() -> list[str]:
    """Every setting by its full key, in order; that of a list's entry has a `*`: `gyms.*.budget`."""
    return list(_settings())


@cache
def _settings() -> dict[str, FieldInfo]:
    """Every setting of the schema by its full key, in order; that of a list's entry has a `*`: `gyms.*.budget`."""

    def walk(section: type[Section], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
        for name, field in section.model_fields.items():
            yield prefix + name, field
            inner, is_list = _section_of(field)
            yield from walk(inner or Section, f"{prefix}{name}.*." if is_list else f"{prefix}{name}.")

    return dict(walk(Config, ""))


def _suggestion(key: str) -> str:
    """The settings most like an unknown `key`: in full, in the last name, or by initials (learning_rate: lr)."""
    name = key.rpartition(".")[2]
    if name in OTHER_DISTRIBUTIONS:
        return (
            ", on purpose: it would draw from another distribution than softmax(logits / T), whose log-probabilities "
            "the learner computes; there is rollout.temperature"
        )
    if name in ELSEWHERE:
        return f"; what TRL or verl call so is {ELSEWHERE[name]} (docs/from_trl_verl.md)"
    initials = "".join(word[:1] for word in name.split("_"))
    entry = re.match(r"gyms\.[0-9]+\.", key)
    scores: dict[str, float] = {}
    for valid in _settings():
        last = valid.rpartition(".")[2]
        valid = valid.replace("gyms.*.", entry[0] if entry else "gyms.0.").replace(".*.", ".0.")
        scores[valid] = SequenceMatcher(None, key, valid).ratio() + SequenceMatcher(None, name, last).ratio()
        scores[valid] += last in (name, initials)
    best = max(scores.values())
    if best >= 1.2:
        return f"; did you mean {' or '.join([valid for valid in scores if scores[valid] >= best - 0.2][:3])}?"
    return f"; a gym's own settings go under {entry[0]}args" if entry else "; docs/configuration.md lists all"


def _problem(error: Mapping[str, Any]) -> str:
    """One line for one pydantic error."""
    key = ".".join(map(str, error["loc"]))
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"{key} is missing"
    wanted = WANTED.get(error["type"], "").format(**error.get("ctx", {})) or error["msg"].removeprefix(
        "Input should be "
    )
    return f"{key}: got {_shown(error['input'])}, wanted {wanted}"


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
