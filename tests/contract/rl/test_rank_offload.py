"""Ranks of a learner that gave their memory up between two updates learn the same bits as if they had kept it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from configs.schema import Config, TinyModelConfig
from rl.learner import Learner
from rl.offload import tensors_in
from rl.ptx import PtxSample
from rl.settings import learner_settings
from rl.tiny_model import build_tiny_model
from tests.contract.rl.rank_processes import RankProcesses

BATCH = [PtxSample(prefix=(2, 3), token_ids=(4 + i, 5, 0), loss_mask=(True, True, True)) for i in range(3)]


def num_bytes_of_parameters(learner: Learner) -> int:
    held: list[torch.Tensor] = list(tensors_in([*learner.model.parameters(), learner.masters.parameters]))
    return sum(tensor.untyped_storage().nbytes() for tensor in held)


def test_two_ranks_that_were_moved_out_and_back_learn_and_publish_the_same_bits(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shape = TinyModelConfig(hidden_size=64, num_layers=2, num_heads=2, intermediate_size=96)
    build_tiny_model(folder, shape, context_length=128, seed=0)
    config = Config.model_validate({"model": {"source": "tiny"}, "gyms": [{"name": "arithmetic"}]})
    settings = dataclasses.replace(learner_settings(config, folder), compute_dtype="float32")
    with RankProcesses(settings, 2) as ranks:
        ranks.call("warm_up", [BATCH], lrs=[1e-2])
        (tmp_path / "saved").mkdir()
        ranks.call("save", tmp_path / "saved")
        kept = ranks.call("warm_up", [BATCH], lrs=[1e-2])[0]
        expected = ranks.call("publish", 2)[0].buffer.tobytes()
        ranks.call("load", tmp_path / "saved")
        assert all(ranks.call(num_bytes_of_parameters))
        ranks.call("offload")
        assert ranks.call(num_bytes_of_parameters) == [0, 0]
        ranks.call("onload")
        moved = ranks.call("warm_up", [BATCH], lrs=[1e-2])[0]
        assert [update.ptx_loss for update in moved] == [update.ptx_loss for update in kept]
        assert ranks.call("publish", 2)[0].buffer.tobytes() == expected
