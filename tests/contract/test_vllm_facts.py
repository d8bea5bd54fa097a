"""What this project takes for granted of vLLM, looked up in the one that is installed. No engine is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.engine import cpu_experts
from rollout.engine.compat import ENVIRONMENT, prepare_environment, skip_ranks
from rollout.engine.device import CPU, CUDA
from rollout.engine.settings import EngineSettings, vllm_arguments
from rollout.quant.kernels import MARLIN

SETTINGS = EngineSettings(
    model_folder=Path("/models/int4"), context_length=4096, max_num_seqs=64, kv_cache_bytes=1 << 30, block_size=32,
    stop_token_ids=(0,), seed=7,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def before_vllm_is_imported() -> None:
    prepare_environment()


def test_a_request_ends_for_no_other_reasons_than_these() -> None:
    from vllm.v1.engine import FINISH_REASON_STRINGS

    assert set(FINISH_REASON_STRINGS) == {"stop", "length", "abort", "error", "repetition"}


def test_it_knows_every_variable_that_is_set_for_it_and_takes_the_runner_that_is_tested() -> None:
    from vllm import envs

    theirs = {name for name in ENVIRONMENT if name.startswith("VLLM_")}
    assert theirs - envs.environment_variables.keys() == set()
    assert envs.VLLM_USE_V2_MODEL_RUNNER is False


def test_its_sampler_finds_log_probabilities_by_token_and_counts_no_ranks(monkeypatch) -> None:
    import torch
    from vllm.v1.sample import sampler

    monkeypatch.setattr(sampler, "batched_count_greater_than", sampler.batched_count_greater_than)  # put back after
    skip_ranks()
    logprobs = torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]]).log()
    found = sampler.Sampler.gather_logprobs(logprobs, 1, torch.tensor([2, 0]))
    assert found.logprob_token_ids.tolist() == [[2, 1], [0, 0]], "the sampled one, then the likeliest"
    assert torch.equal(found.logprobs.exp(), torch.tensor([[0.3, 0.5], [0.7, 0.7]]).log().exp())
    assert found.selected_token_ranks.tolist() == [0, 0], "vLLM itself counts 2 and 1"


def test_it_takes_the_arguments_of_both_devices() -> None:
    from vllm import EngineArgs
    from vllm.config import CompilationConfig, CUDAGraphMode

    EngineArgs(**vllm_arguments(SETTINGS, CPU))
    graphs = CompilationConfig(**CUDA.graphs)
    assert graphs.cudagraph_mode is CUDAGraphMode.FULL_DECODE_ONLY
    assert not graphs.cudagraph_mode.requires_piecewise_compilation(), "nothing may be compiled"
    assert {"enable_sleep_mode", "gpu_memory_utilization"} <= EngineArgs.__dataclass_fields__.keys()


def test_the_groups_of_a_gpu_are_those_of_its_kernel() -> None:
    from vllm.model_executor.layers.quantization.utils.marlin_utils import MARLIN_SUPPORTED_GROUP_SIZES

    assert set(MARLIN.group_sizes or ()) == set(MARLIN_SUPPORTED_GROUP_SIZES) - {-1}  # -1: a row, no group scheme


@pytest.mark.parametrize("error", [NotImplementedError("no kernel"), KeyError("uint4b8")])
def test_experts_on_a_cpu_are_refused_by_name_where_vllm_is_too_old(monkeypatch, error) -> None:
    prepare_environment()
    from vllm.model_executor.layers.quantization.compressed_tensors.compressed_tensors_moe import (
        CompressedTensorsMoEMethod,
    )

    def has_no_kernel(*_: object) -> None:
        raise error

    monkeypatch.setattr(CompressedTensorsMoEMethod, "get_moe_method", staticmethod(has_no_kernel))
    monkeypatch.setattr(cpu_experts, "_installed", False)
    monkeypatch.setattr(cpu_experts, "check_version", lambda: "0.29.0")
    cpu_experts.install()
    with pytest.raises(ValueError, match=r"layers\.0: vLLM 0\.29\.0 is installed.*from 0\.30\.0 on"):
        CompressedTensorsMoEMethod.get_moe_method(None, None, "layers.0")
