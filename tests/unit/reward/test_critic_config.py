"""A config's judge section becomes a critic; its defaults are the critic's own."""

from __future__ import annotations

import asyncio
from dataclasses import fields

import pytest

from configs.judge import JudgeConfig
from gyms.api import Status, Task, message
from reward.calibration import Calibration
from reward.critic import CriticSettings, SelfCritic
from reward.critic_config import build_critic, build_gate
from reward.judges.prompted import PromptedJudge, PromptSettings
from reward.rubric import load_rubric
from tests.unit.reward.scripted_judges import prefers


def test_the_defaults_of_the_config_are_those_of_the_code() -> None:
    critic = build_critic(JudgeConfig(), seed=0, generate=prefers(len))
    assert isinstance(critic, SelfCritic) and critic.settings == CriticSettings()
    assert isinstance(critic.judge, PromptedJudge) and critic.judge.settings == PromptSettings()
    own = {field.name for field in (*fields(CriticSettings), *fields(PromptSettings))}
    assert set(JudgeConfig.model_fields) - own == {"source", "endpoint", "calibration"}


def test_a_critic_from_a_config_judges() -> None:
    gate = build_gate(JudgeConfig().calibration)
    critic = build_critic(JudgeConfig(num_opponents=2), seed=3, generate=prefers(len), gate=gate)
    task = Task(id="t", prompt=(message("user", "Why?"),))
    job = critic.judge_group("s0/d0", task, ["a", "bb"], load_rubric("core"))
    assert asyncio.run(job)[0].status is Status.JUDGE_FAILED
    gate.update(0, Calibration(num_pairs=64, num_failed=0, accuracy=0.6))
    job = critic.judge_group("s0/d0", task, ["a", "bb"], load_rubric("core"))
    assert asyncio.run(job)[1].value == pytest.approx(0.89, abs=0.005)  # two digits, worked out in test_ranking


def test_an_endpoint_is_built_from_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    section = {"base_url": "http://localhost:1/v1", "model": "m", "key_env": "NO_SUCH_KEY"}
    config = JudgeConfig.model_validate({"source": "endpoint", "endpoint": section})
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ValueError, match="NO_SUCH_KEY is not set"):
        build_critic(config, seed=0)
    monkeypatch.setenv("NO_SUCH_KEY", "k")
    assert build_critic(config, seed=0).judge.name.startswith("m@http://localhost:1/v1/prompt1/")


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"judge\.endpoint\.base_url"):
        JudgeConfig(source="endpoint")
    with pytest.raises(ValueError, match="needs the served policy"):
        build_critic(JudgeConfig(), seed=0)
