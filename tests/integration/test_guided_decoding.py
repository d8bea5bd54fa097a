"""Verdicts under a JSON schema, from the real engine with the real tokenizer of SmolLM2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gyms.critic.verdict import VerdictForm
from rl.learner import Learner
from rollout.chat import ChatFormat
from rollout.engine.engine import EngineSettings, VLLMEngine
from rollout.types import SampleRequest
from tests.integration.harness import new_learner

MODEL = Path(__file__).parents[2] / "models" / "smollm2-135m-instruct"


@pytest.mark.skipif(not (MODEL / "config.json").is_file(), reason="needs `make model`")
def test_a_verdict_under_its_schema_always_parses(tmp_path):
    learner: Learner = new_learner(MODEL)
    learner.export(tmp_path / "model")
    chat = ChatFormat(MODEL, use_template=True)
    engine = VLLMEngine(
        EngineSettings(
            model_folder=tmp_path / "model", context_length=512, max_num_seqs=8, kv_cache_bytes=1 << 28, block_size=32,
            stop_token_ids=chat.end_token_ids,
        )
    )  # fmt: skip
    try:
        engine.stage_weights(learner.publish(0))
        engine.commit_weights(0)
        form = VerdictForm(compared=("winner", "clarity"), mandatory=("praise",))
        schema = json.dumps(form.schema())
        prompt = chat.prompt_ids(({"role": "user", "content": f"Which is better? Reply as {form.example()}"},))
        engine.submit(
            [
                SampleRequest(
                    id=str(i),
                    prompt_ids=prompt,
                    budget=64,
                    temperature=1.5,
                    seed=i,
                    json_schema=schema,
                )
                for i in range(8)
            ]
        )
        found = []
        while len(found) < 8:
            found += engine.finished(wait_seconds=5.0)
        verdicts = [form.parse(sample.text) for sample in found]
        assert all(set(verdict.better) == {"winner", "clarity"} for verdict in verdicts)
    finally:
        engine.close()
