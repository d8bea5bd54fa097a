"""Architectures unlike a Llama, each with a real engine: biases and end tokens, experts, latent attention."""

from __future__ import annotations

import pytest

from tests.families.__main__ import prove_in_child
from tests.families.shapes import FAMILIES, Family

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.is_in_make_test], ids=lambda family: family.name)
def test_learner_and_engine_agree_on_an_architecture(family: Family) -> None:
    found = prove_in_child(family)
    assert not found["problems"], found.get("output", found)
