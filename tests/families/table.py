"""docs/models.md, written from what `python -m tests.families --write` found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.families.shapes import FAMILIES

__all__ = ["page"]

_HEAD = """# Models

Every row is a model of some ten thousand random weights of that architecture, put through a learner and a real vLLM
engine that hold the same packed INT4 weights. This page is written by `make test-families` (`python -m tests.families
--write`, 10 to 20 minutes on 2 quiet cores); `make test` proves the rows in bold type again.

| architecture | what is special | INT4 | law | gap | of BF16's | without QAT | flips | a sample alone |
|---|---|---|---|---|---|---|---|---|
"""
_LEGEND = """
- **INT4**: share of the parameters that are quantised.
- **law**: every weight that the engine applies, read back through its kernels, is the learner's, bit for bit; before
  and after an update, fused, tied, padded and absorbed copies included.
- **gap**: mean difference in nats between the log-probabilities of learner (BF16) and engine over the tokens that the
  engine sampled; then as a multiple of the gap to an engine that serves the same weights in BF16. `without QAT` is that
  multiple for a learner that leaves the grid out: the control.
- **flips**: share of the INT4 codes that one update at a learning rate of 3e-3 changed. The update raised its objective
  in every row, and going back to the first weights gave the old log-probabilities to the last bit.
- **a sample alone**: whether a sample is the same, bit for bit, whatever is drawn beside it.

Several end tokens, biases, tied heads and a vocabulary that the engine pads (100 to 128) are in the rows above. A
mixture of experts computes its INT4 experts here by `rollout/engine/cpu_experts.py`, since vLLM has none for CPUs
without AMX. Real models of these architectures were not run, but for SmolLM2 (Llama).

## Refused before anything starts

| architecture | what is special | what preflight says |
|---|---|---|
"""


def page(facts: Mapping[str, Any]) -> str:
    """The page, from the content of docs/models.json."""
    found = facts["families"]
    proven = "".join(_row(family, found.get(family.name, {})) for family in FAMILIES if family.refusal is None)
    refused = "".join(
        f"| {family.name} (`{family.kind}`) | {family.special} | {found[family.name]['refused']} |\n"
        for family in FAMILIES
        if family.refusal is not None and family.name in found
    )
    machine = ", ".join(f"{key} {value}" for key, value in facts["machine"].items())
    return f"{_HEAD}{proven}{_LEGEND}{refused}\nFound on: {machine}.\n"


def _row(family: Any, found: Mapping[str, Any]) -> str:
    name = f"**{family.name}**" if family.is_in_make_test else family.name
    if "gap" not in found:
        problem = "**fails**" if found else "not run yet: `make test-families`"
        return f"| {name} (`{family.kind}`) | {family.special} | {problem} | | | | | | |\n"
    is_lawful = not found["law"] and not found["law_after_update"]
    cells = (
        f"{name} (`{family.kind}`)",
        family.special,
        f"{found['num_int4'] / found['num_parameters']:.0%}",
        "bit for bit" if is_lawful else "**broken**",
        f"{found['gap']:.4f}",
        f"{found['gap'] / found['gap_bf16']:.2f}",
        f"{found['gap_without_fake_quant'] / found['gap_bf16']:.0f}",
        f"{found['code_flip_frac']:.1%}",
        "same bits" if found["is_batch_invariant"] else f"differs: {family.batch_dependence}",
    )
    return f"| {' | '.join(cells)} |\n"
