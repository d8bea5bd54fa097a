"""From a config to the settings of learner and engines: nothing is lost on the way, and defaults are the same facts."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from configs.learner import LearnerConfig
from configs.schema import Config, QuantConfig
from configs.sections import EngineConfig
from rl.learner import LearnerSettings
from rl.settings import engine_settings, learner_settings
from rollout.engine.engine import EngineSettings
from rollout.quant.scheme import QuantScheme

READ_ELSEWHERE = {
    "learner": {
        "advantage",
        "baseline",
        "drop_zero_spread",
        "lr",
        "lr_end_frac",
        "lr_ramp_steps",
        "num_minibatches",
        "num_ranks",
        "reference_kl",  # its two settings become two fields
        "scale_by_std",
    },
    "engine": {"num_engines", "borrow_weights"},
}
"""Settings that batches, schedules and the cluster read, and no process is started with."""


def test_the_configs_default_scheme_is_the_number_formats_default() -> None:
    config = QuantConfig()
    assert QuantScheme(group_size=config.group_size, ignore=config.ignore) == QuantScheme()


@pytest.mark.parametrize(
    ("section", "settings"),
    [(LearnerConfig, LearnerSettings), (EngineConfig, EngineSettings)],
    ids=["learner", "engine"],
)
def test_every_setting_of_the_section_reaches_the_process_or_is_read_elsewhere(section, settings) -> None:
    name = "learner" if section is LearnerConfig else "engine"
    filled = {one.name for one in fields(settings)}
    assert set(section.model_fields) - filled == READ_ELSEWHERE[name]


def test_what_a_config_says_is_what_learner_and_engine_are_started_with() -> None:
    config = Config.model_validate(
        {
            "model": {"source": "tiny", "context_length": 1024},
            "gyms": [{"name": "arithmetic"}],
            "seed": 2**31 + 5,
            "learner": {"loss": "k25_token", "tau": 0.25, "betas": [0.5, 0.75], "mismatch": {"high": 3.0}},
            "quant": {"group_size": 64, "fake_quantize": False},
            "engine": {"max_num_seqs": 7, "kv_cache_bytes": 1 << 21, "block_size": 64},
            "rollout": {"max_prompt_tokens": 100},
        }
    )
    learner = learner_settings(config, Path("model"))
    assert (learner.model_folder, learner.loss, learner.tau, learner.betas) == (
        Path("model"),
        "k25_token",
        0.25,
        (0.5, 0.75),
    )
    assert (learner.mismatch.high, learner.mismatch.correction) == (3.0, "token_cap")
    assert (learner.scheme.group_size, learner.fake_quantize, learner.ptx_coef) == (64, False, config.ptx.coef)
    chat = SimpleNamespace(end_token_ids=(2, 3))
    engine = engine_settings(config, Path("int4"), chat, quantised=False)  # type: ignore[arg-type]
    assert (engine.model_folder, engine.context_length, engine.max_num_seqs) == (Path("int4"), 1024, 7)
    assert (engine.kv_cache_bytes, engine.block_size, engine.stop_token_ids) == (1 << 21, 64, (2, 3))
    assert (engine.seed, engine.quantised) == (5, False)
