"""The emulated 4-bit floats, against every value they have and every tie between them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.formats import mxfp4, nvfp4, page, plot, right_answers, round_e2m1

SMALL = {
    "vocab_size": 32, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
}  # fmt: skip
VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
DOCS = Path(__file__).parents[2] / "docs"


def test_every_value_stays_and_a_tie_goes_to_the_even_mantissa() -> None:
    values = torch.tensor(VALUES)
    assert torch.equal(round_e2m1(values), values) and torch.equal(round_e2m1(-values), -values)
    ties = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
    assert round_e2m1(ties).tolist() == [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0]
    assert round_e2m1(torch.tensor([5.01, 7.9, -7.9])).tolist() == [6.0, 6.0, -6.0]


def test_between_the_ties_the_nearest_value_is_taken() -> None:
    x = torch.rand(1000) * 6
    nearest = torch.tensor(VALUES)[(x[:, None] - torch.tensor(VALUES)).abs().argmin(1)]
    assert torch.equal(round_e2m1(x), nearest)


def test_mxfp4_scales_a_block_by_a_power_of_two() -> None:
    block = torch.zeros(1, 64)
    block[0, :3] = torch.tensor([7.0, 2.5, 0.3])  # floor(log2 7) - 2 = 0: scale 1, and 7 is beyond 6
    block[0, 32:34] = torch.tensor([0.75, 0.1])  # floor(log2 .75) - 2 = -3: scale 1/8; 0.1 * 8 = 0.8 is nearest to 1
    found = mxfp4(block)
    assert found[0, :3].tolist() == [6.0, 2.0, 0.5]
    assert found[0, 32:34].tolist() == [0.75, 0.125]
    assert not found[0, 3:32].any() and not mxfp4(torch.zeros(1, 32)).any()


def test_nvfp4_scales_a_block_by_an_e4m3_number_of_the_tensors_own_scale() -> None:
    weight = torch.zeros(1, 32)
    weight[0, 0], weight[0, 16] = 2688.0, 6.0  # 2688 = 6 * 448: the tensor's scale is 1, the blocks' 448 and 1
    weight[0, 17], weight[0, 18] = 2.6, -0.2
    found = nvfp4(weight)
    assert found[0, 0] == 2688.0 and found[0, 16:19].tolist() == [6.0, 3.0, 0.0]
    assert not nvfp4(torch.zeros(1, 16)).any()


@pytest.mark.parametrize("quantise", [mxfp4, nvfp4])
def test_rounding_twice_changes_nothing_where_the_scale_is_kept(quantise) -> None:
    once = quantise(torch.randn(64, 128))
    twice = quantise(once)
    kept = (twice == once).float().mean()
    assert kept > 0.9  # a block whose largest weight was rounded down may get a smaller scale


def test_an_answer_is_right_where_greedy_decoding_gives_it_whole() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SMALL)).eval()
    shots, texts = (3, 1, 4, 1, 5), []
    for question in ((9, 2), (6,), (5, 3, 5)):
        ids = [*shots, *question]
        for _ in range(3):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        texts.append((tuple(ids), len(ids) - 3))
    wrong = (*texts[1][0][:-1], (texts[1][0][-1] + 1) % 32)
    found = right_answers(model, [texts[0], (wrong, texts[1][1]), texts[2]])
    assert found.tolist() == [1.0, 0.0, 1.0]


def test_the_page_is_written_from_what_was_found() -> None:
    facts = json.loads((DOCS / "formats.json").read_text())
    assert page(facts) == (DOCS / "formats.md").read_text(), "run: python -m benchmarks.formats --write"
    assert plot(facts["formats"]) == (DOCS / "images" / "formats.svg").read_text()
