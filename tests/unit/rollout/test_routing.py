"""The experts of a response as bytes: what goes in comes out, in a byte each where that is enough."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rollout.routing import Routing


@pytest.mark.parametrize(("num_experts", "width"), [(256, 1), (257, 2), (384, 2)])
def test_experts_come_back_from_bytes_and_from_json(num_experts: int, width: int) -> None:
    experts = np.random.default_rng(1).integers(num_experts, size=(5, 3, 2)).astype(np.int16)
    experts[0, 0] = (0, num_experts - 1)
    routing = Routing.of(experts)
    assert len(routing.experts) == width * experts.size
    assert Routing.of_json(json.loads(json.dumps(routing.as_json()))) == routing
    assert np.array_equal(routing.array(), experts) and routing.array().dtype == np.int16


def test_a_response_of_no_computed_token_has_no_experts() -> None:
    assert Routing.of(np.zeros((0, 3, 2), np.int16)).array().shape == (0, 3, 2)
