"""Trainer and INT4 engine agree as closely as two programs can, and the controls show that the test can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.logprob_gap import measure_gap

MODEL = Path(__file__).parents[2] / "models" / "smollm2-135m-instruct"


@pytest.mark.skipif(not MODEL.is_dir(), reason="needs the SmolLM2 folder: `make model`")
def test_the_gap_is_that_of_bf16_serving_and_grows_when_anything_is_inexact(tmp_path: Path) -> None:
    found = measure_gap(MODEL, tmp_path, control_every=4)
    assert found["num_tokens"] > 1000 and found["num_control_tokens"] > 250
    assert found["matched_to_bf16"] <= 1.05
    assert found["untrained_to_bf16"] >= 8.0
    assert found["off_by_one_to_bf16"] >= 2.0
