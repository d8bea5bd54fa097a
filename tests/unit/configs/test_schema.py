"""The rules of the schema, one test each: a rule that ties settings together, or a range that is not obvious."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from configs import schema
from configs.schema import Config, GymConfig, PtxSourceConfig, Section

GYM = {"name": "arithmetic"}


def make(**settings: Any) -> Config:
    return Config.model_validate({"model": {"source": "tiny"}, "gyms": [GYM], **settings})


def refusal(**settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        make(**settings)
    return str(caught.value)


def test_the_smallest_config_names_a_model_and_a_gym() -> None:
    config = make()
    assert (config.num_steps, config.gyms[0].gym, config.gyms[0].budget) == (20, "arithmetic", 256)


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make().num_steps = 3  # type: ignore[misc]


def test_every_field_has_a_docstring() -> None:
    sections = [kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, Section)]
    bare = [
        f"{kind.__name__}.{name}" for kind in sections for name, f in kind.model_fields.items() if not f.description
    ]
    assert len(sections) > 15
    assert bare == []


def test_every_section_is_public() -> None:
    sections = [name for name, kind in vars(schema).items() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    assert set(sections) - {"BaseModel"} == set(schema.__all__)


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_no_number_is_infinite_or_nan(number: float) -> None:
    assert "finite number" in refusal(learner={"mismatch": {"high": number}})


def test_a_moment_decay_of_one_is_refused_as_it_divides_by_zero() -> None:
    assert "less than 1" in refusal(learner={"betas": [0.9, 1.0]})


def test_a_run_name_is_a_plain_folder_name() -> None:
    assert make(name="k2-joint_v1.5").name == "k2-joint_v1.5"
    for name in ("", "..", "../x", "a/b", "a b", ".hidden"):
        assert "set run_dir" in refusal(name=name)


def test_a_folder_model_needs_a_path() -> None:
    assert "model.path is missing" in refusal(model={"source": "folder"})


@pytest.mark.parametrize("marks", [["<think>"], ["<think>", ""], ["x", "x"], ["a", "b", "c"]])
def test_thoughts_have_two_different_marks_or_none(marks: list[str]) -> None:
    assert r"model.thoughts = " in refusal(model={"source": "tiny", "thoughts": marks})
    assert make(model={"source": "tiny", "thoughts": []}).model.thoughts == ()
    assert make(model={"source": "tiny", "thoughts": ["a", "b"]}).model.thoughts == ("a", "b")


def test_a_tiny_model_takes_no_path() -> None:
    assert "remove one of the two" in refusal(model={"source": "tiny", "path": "x"})


@pytest.mark.parametrize(("hidden_size", "num_heads"), [(128, 8), (128, 3), (32, 2)])
def test_tiny_heads_are_whole_and_32_wide_or_more(hidden_size: int, num_heads: int) -> None:
    tiny = {"hidden_size": hidden_size, "num_heads": num_heads}
    assert f"at most {hidden_size // 32} heads" in refusal(model={"source": "tiny", "tiny": tiny})


def test_tiny_widths_are_multiples_of_32() -> None:
    for width in ("hidden_size", "intermediate_size"):
        assert "multiple of 32" in refusal(model={"source": "tiny", "tiny": {width: 100, "num_heads": 1}})


def test_ignore_patterns_must_compile() -> None:
    assert "quant.ignore.1 = 're:('" in refusal(quant={"ignore": ["lm_head", "re:("]})
    assert make(quant={"ignore": ["plain("]}).quant.ignore == ("plain(",)


def test_a_gym_defaults_to_its_name_and_keeps_one_that_is_given() -> None:
    assert GymConfig(name="logic").gym == "logic"
    assert GymConfig(name="easy", gym="logic").gym == "logic"


def test_a_gym_name_is_plain() -> None:
    assert "a gym's name may hold" in refusal(gyms=[{"name": "a.b"}])


def test_a_truncated_samples_reward_lies_between_minus_one_and_one() -> None:
    assert make(reward={"truncation": {"reward": -1.0}}).reward.truncation.reward == -1.0
    assert "must lie in [-1, 1]" in refusal(reward={"truncation": {"reward": -1.5}})


def test_the_shortest_loop_is_not_longer_than_the_longest():
    wanted = {"min_count": 3, "min_pattern_tokens": 8, "max_pattern_tokens": 8}
    assert make(rollout={"repetition": wanted}).rollout.repetition.min_count == 3
    message = refusal(rollout={"repetition": wanted | {"max_pattern_tokens": 7}})
    assert "rollout.repetition.min_pattern_tokens = 8 is more than rollout.repetition.max_pattern_tokens = 7" in message
    assert "greater than or equal to 2" in refusal(rollout={"repetition": {"min_count": 1}})


def test_a_ptx_source_names_at_most_one_place() -> None:
    assert "names gym and jsonl" in refusal(ptx={"source": {"gym": "arithmetic", "jsonl": "x.jsonl"}})
    assert PtxSourceConfig(jsonl="x.jsonl").is_set  # type: ignore[arg-type]
    assert not PtxSourceConfig().is_set


def test_a_config_needs_a_gym() -> None:
    assert "gyms is empty" in refusal(gyms=[])


def test_gym_names_are_unique() -> None:
    assert "'arithmetic' twice" in refusal(gyms=[GYM, GYM])


def test_no_more_untrained_tasks_than_tasks() -> None:
    message = refusal(eval={"num_untrained_tasks": 301})
    assert "eval.num_untrained_tasks = 301 is more than eval.num_tasks = 300; lower it" in message
    assert make(eval={"num_untrained_tasks": 300}).eval.num_untrained_tasks == 300


def test_prompt_and_budget_fit_the_context() -> None:
    fits = {"rollout": {"max_prompt_tokens": 1792}}
    assert make(**fits).model.context_length == 1792 + 256
    message = refusal(**fits, gyms=[GYM, {"name": "code", "budget": 257}])
    assert "gyms.1.budget = 257 (code)" in message
    assert "need 2049 tokens, but model.context_length is 2048" in message


def test_the_longest_sequence_fits_a_microbatch() -> None:
    assert make(learner={"max_microbatch_tokens": 1280}).learner.max_microbatch_tokens == 1024 + 256
    assert "longest sequence of 1280 tokens" in refusal(learner={"max_microbatch_tokens": 1279})


def test_a_ptx_gym_is_one_of_this_configs_gyms() -> None:
    assert make(ptx={"source": {"gym": "arithmetic"}, "coef": 0.1}).ptx.source.is_set
    assert "none of this config's gyms: arithmetic" in refusal(ptx={"source": {"gym": "logic"}})
    message = refusal(ptx={"source": {"gym": ["arithmetic", "logic"]}})
    assert "ptx.source.gym = 'logic' is none of" in message


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"ptx": {"coef": 0.1}}, "ptx.coef"),
        ({"ptx": {"num_heldout": 8}}, "ptx.num_heldout"),
        ({"warmup": {"num_steps": 5}}, "warmup.num_steps"),
    ],
)
def test_curated_data_that_is_used_has_a_source(settings: dict[str, Any], key: str) -> None:
    assert f"{key} is set, but ptx.source is not" in refusal(**settings)


def test_minibatches_divide_the_draws() -> None:
    assert make(learner={"num_minibatches": 4}).learner.num_minibatches == 4
    assert "not a multiple of learner.num_minibatches = 3" in refusal(learner={"num_minibatches": 3})


@pytest.mark.parametrize("loss", ["k2_seq", "gspo"])
def test_a_loss_on_whole_responses_has_one_way_to_take_its_mean(loss: str) -> None:
    assert f"learner.aggregation = 'token' has no meaning for learner.loss = '{loss}'" in refusal(
        learner={"loss": loss, "aggregation": "token"}
    )
    assert make(learner={"loss": "grpo", "aggregation": "token"}).learner.aggregation == "token"


def test_only_the_loss_with_bounds_around_a_squared_term_has_a_choice_of_its_tokens() -> None:
    assert "learner.squared_over = 'kept' is of learner.loss = 'k25_token'" in refusal(
        learner={"loss": "grpo", "squared_over": "kept"}
    )
    assert make(learner={"loss": "k25_token", "squared_over": "kept"}).learner.squared_over == "kept"


def test_the_soft_baseline_needs_a_temperature_of_its_own() -> None:
    assert "needs learner.tau > 0" in refusal(learner={"baseline": "log_mean_exp", "tau": 0})


@pytest.mark.parametrize(
    "whole", [{"optimizer": "muon"}, {"qk_clip": 100.0}, {"lora": {"rank": 8}}, {"ema_decay": 0.99}]
)
def test_what_needs_whole_matrices_is_refused_on_several_ranks(whole: dict[str, Any]) -> None:
    make(learner=whole)
    assert "learner.num_ranks = 2" in refusal(learner=whole | {"num_ranks": 2})


def test_a_context_that_is_rewritten_has_a_limit_below_the_episodes() -> None:
    env = {"name": "adder", "budget": 16, "episode_tokens": 5000}
    config = make(gyms=[{**env, "context": "hide_tools", "context_tokens": 900}])
    assert config.gyms[0].longest == 900, "an episode may be longer than model.context_length"
    assert "goes with context_tokens" in refusal(gyms=[{**env, "context": "hide_tools"}])
    assert "goes with context_tokens" in refusal(gyms=[{**env, "context_tokens": 900}])
    rule = {"context": "discard_all"}
    assert "less than episode_tokens = 5000" in refusal(gyms=[{**env, **rule, "context_tokens": 5000}])
    assert "the budget of one turn, 16" in refusal(gyms=[{**env, **rule, "context_tokens": 15}])
    assert "gyms.0.context_tokens = 4000" in refusal(gyms=[{**env, **rule, "context_tokens": 4000}])


@pytest.mark.parametrize(
    ("section", "apart"),
    [("cluster", {"separate": True}), ("learner", {"num_ranks": 2}), ("engine", {"tensor_parallel": 2})],
)
def test_weights_are_borrowed_from_a_learner_that_is_whole_and_on_the_same_device(
    section: str, apart: dict[str, Any]
) -> None:
    config = make(engine={"borrow_weights": True}).model_dump(mode="json")
    config[section] |= apart
    assert "engine.borrow_weights has an engine read" in refusal(**config)
