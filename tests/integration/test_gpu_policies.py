"""The models and the comparison of tests/gpu, on a CPU: they run, they find exact weights exact, and others not."""

from __future__ import annotations

from pathlib import Path

from rollout.engine.engine import VLLMEngine
from tests.gpu.policies import build_learner, differing, settings, two_versions
from tests.integration.test_engine import serve


def test_the_policies_of_the_gpu_tests_are_exact_on_a_cpu_biases_included(tmp_path: Path) -> None:
    learner = build_learner(tmp_path, kind="qwen2", group_size=32)
    learner.export(tmp_path / "int4")
    (first, forward), (second, other) = two_versions(learner)
    engine = VLLMEngine(settings(tmp_path / "int4"))
    for artefact, ours, theirs in ((first, forward, other), (second, other, forward)):
        serve(engine, artefact)
        applied = engine.on_worker("k2rl_effective_weights")
        assert differing(applied, ours) == []
        wrong = differing(applied, theirs)
        assert {"model.layers.0.self_attn.qkv_proj.bias", "model.layers.3.mlp.down_proj.weight"} <= set(wrong)
    engine.close()
