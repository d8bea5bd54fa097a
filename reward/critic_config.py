"""From the config's `judge` section to a critic: one call for the loop, and one for the gate."""

from __future__ import annotations

from collections.abc import Sequence

from configs.judge import CalibrationConfig, JudgeConfig
from reward.calibration import CriticGate
from reward.critic import CriticSettings, GroupCritic, SelfCritic
from reward.judges.api import Generate
from reward.judges.endpoint import Endpoint, EndpointSettings
from reward.judges.prompted import PromptedJudge, PromptSettings

__all__ = ["build_critic", "build_gate"]


def build_critic(
    config: JudgeConfig,
    *,
    seed: int,
    generate: Generate | None = None,
    gate: CriticGate | None = None,
    special_tokens: Sequence[str] = (),
) -> GroupCritic:
    """The critic of a config.

    Args:
        seed: the run's.
        generate: the served policy; needed where `judge.source` is "policy".
        gate: says whether verdicts count; None: always.
        special_tokens: those of the judge's tokenizer, broken up wherever an answer holds one.

    Raises:
        ValueError: the endpoint's key is not set.
    """
    prompt = PromptSettings(
        style=config.style,
        decides=config.decides,
        allow_tie=config.allow_tie,
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        seed=seed,
        deadline_seconds=config.deadline_seconds,
        max_in_flight=config.max_in_flight,
        num_retries=config.num_retries,
        max_question_chars=config.max_question_chars,
        max_answer_chars=config.max_answer_chars,
        too_long=config.too_long,
        special_tokens=tuple(special_tokens),
    )
    settings = CriticSettings(
        seed=seed,
        num_opponents=config.num_opponents,
        prior=config.prior,
        min_decided_frac=config.min_decided_frac,
        group_seconds=config.group_seconds,
    )
    if config.source == "policy":
        if generate is None:
            raise ValueError('judge.source = "policy" needs the served policy; there is none here')
        return SelfCritic(generate, settings, prompt=prompt, gate=gate)
    client = Endpoint(EndpointSettings(**config.endpoint.model_dump()))
    judge = PromptedJudge(client.generate, prompt, name=client.name, close=client.aclose)
    return GroupCritic(judge, settings, gate=gate)


def build_gate(config: CalibrationConfig) -> CriticGate:
    """The gate of a config, closed until its first calibration."""
    return CriticGate(min_accuracy=config.min_accuracy, min_pairs=config.min_pairs, max_flip_rate=config.max_flip_rate)
