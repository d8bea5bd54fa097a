"""How long an episode may be, and whether a gym's own answers score: asked before a run starts."""

from __future__ import annotations

import pytest

from configs.schema import GymConfig
from gyms.adder.gym import Adder
from gyms.api import Services
from gyms.load import GymSpec, load_gym
from gyms.mixture import EpisodeLimits
from rl.gym_checks import check_gold, episode_limits


@pytest.mark.parametrize(
    ("gym", "settings", "expected"),
    [
        ("adder", {}, r"gyms.2 \(adder\) takes up to 32 turns: set gyms.2.episode_tokens"),
        ("arithmetic", {"max_turns": 3}, "gyms.2.max_turns = 3, but arithmetic is a gym of one turn"),
        ("arithmetic", {"episode_tokens": 300}, "gyms.2.episode_tokens = 300, but arithmetic is a gym of one turn"),
        (
            "arithmetic",
            {"episode_tokens": 999, "context": "hide_tools", "context_tokens": 300},
            "gyms.2.episode_tokens = 999, but arithmetic is a gym of one turn",
        ),
    ],
)
def test_limits_of_episodes_are_asked_of_gyms_of_many_turns_alone(gym, settings, expected):
    with pytest.raises(ValueError, match=expected):
        episode_limits(GymConfig(name=gym, **settings), load_gym(gym, gym, {}), config_key="gyms.2")


def test_an_episode_has_its_own_limit_of_turns_or_the_environments():
    env = load_gym("adder", "adder", {})
    for max_turns in (None, 5):
        config = GymConfig(name="adder", episode_tokens=400, max_turns=max_turns)
        found = episode_limits(config, env, config_key="gyms.0")
        assert found == EpisodeLimits(max_turns=max_turns or 32, max_tokens=400)
    config = GymConfig(name="adder", episode_tokens=400, context="keep_last", context_tokens=300)
    found = episode_limits(config, env, config_key="gyms.0")
    assert found == EpisodeLimits(max_turns=32, max_tokens=400, context="keep_last", max_context=300)
    assert episode_limits(GymConfig(name="arithmetic"), load_gym("arithmetic", "arithmetic", {}), config_key="") is None


def test_an_environment_whose_only_turn_ends_it_is_as_long_as_that_turn():
    env = load_gym("adder", "adder", {})
    env.max_turns = 1
    found = episode_limits(GymConfig(name="adder", budget=64), env, config_key="gyms.0")
    assert found == EpisodeLimits(max_turns=1, max_tokens=64)


def test_an_environment_whose_gold_turns_do_not_score_is_refused():
    class Wrong(Adder):
        def gold_turns(self, task):
            return super().gold_turns(task)[:-1]

    with pytest.raises(ValueError, match=r"gyms.1 \(sums\): the gold turns of task 'train/0' score None \(no_answer"):
        check_gold(Wrong(Adder.Settings(), Services()), 1, GymSpec(name="sums", reference="adder"))
