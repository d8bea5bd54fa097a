"""On a GPU, too, trainer and INT4 engine agree as closely as two programs can, and the controls show it could fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.logprob_gap import measure_gap

MODEL = Path(__file__).parents[2] / "models" / "smollm2-135m-instruct"


@pytest.mark.skipif(not MODEL.is_dir(), reason="needs the SmolLM2 folder: `make model`")
def test_the_gap_on_a_gpu_is_that_of_bf16_serving_and_grows_when_anything_is_inexact(tmp_path: Path) -> None:
    found = measure_gap(MODEL, tmp_path)
    assert found["num_tokens"] > 1000
    # Marlin multiplies codes by scales in bfloat16 as the grid does, so only the order of sums differs from BF16's.
    assert found["matched_to_bf16"] <= 1.1
    assert found["untrained_to_bf16"] >= 8.0
    assert found["off_by_one_to_bf16"] >= 2.0
