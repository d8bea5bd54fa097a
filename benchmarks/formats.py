"""INT4 against the 4-bit floating-point formats of newer GPUs, on a real model's weights: what rounding alone costs.

    int4 g32, g64, g128   this project's grid (rollout/quant/grid.py): 15 even steps, a bfloat16 scale a group
    mxfp4                 OCP: 0 0.5 1 1.5 2 3 4 6 and their negatives, a power of two a block of 32
    nvfp4                 the same values, an E4M3 scale a block of 16, one fp32 scale a tensor

The float formats are emulated in torch: only their values matter here. No format is trained for: this is post-training
rounding of every matrix that `quant.ignore` leaves over. Found are

    error      ||Q(W) - W|| / ||W|| over all of them
    kl         mean KL(BF16 || Q) in nats a token, on the gold answers of arithmetic prompts and on prose (LICENSE)
    gap        mean |log p - log p of BF16| of those tokens
    right      share of held-out sums, behind a few solved ones, that greedy decoding answers rightly

    python -m benchmarks.formats --model models/smollm2-135m-instruct [--write]
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import machine
from gyms.api import Message, Services, Task, message
from gyms.arithmetic.gym import Arithmetic, ArithmeticSettings
from rollout.chat import ChatFormat
from rollout.quant.grid import fake_quantize
from rollout.quant.scheme import QuantScheme
from rollout.quant.views import quantized_views

__all__ = ["FORMATS", "mxfp4", "nvfp4", "round_e2m1"]

ROOT = Path(__file__).parents[1]
PAGE, PLOT, RESULTS = (ROOT / "docs" / name for name in ("formats.md", "images/formats.svg", "formats.json"))
NUM_TASKS, PROSE_TOKENS = 50, 512
NUM_SOLVED, NUM_ASKED = 8, 300
"""Sums that a prompt shows with their answers, and sums that are asked behind them."""
_MAX_E2M1, _MAX_E4M3 = 6.0, 448.0


def round_e2m1(x: Tensor) -> Tensor:
    """To the nearest of 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives; a tie to the even mantissa, 6 beyond."""
    size = x.abs()
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    return torch.copysign(((size / step).round() * step).clamp(max=_MAX_E2M1), x)


def mxfp4(weight: Tensor) -> Tensor:
    """[O, I] fp32 on the MXFP4 grid: OCP Microscaling 1.0, section 6.3; the scale is 2^(floor(log2(amax)) - 2)."""
    blocks = weight.float().view(-1, 32)
    amax = blocks.abs().amax(1, keepdim=True)
    exponent = torch.frexp(amax).exponent - 1 - 2  # frexp: amax = m 2^e with m in [0.5, 1)
    scale = torch.where(amax == 0, 1.0, torch.ldexp(torch.ones_like(amax), exponent))
    return (round_e2m1(blocks / scale) * scale).view(weight.shape)


def nvfp4(weight: Tensor) -> Tensor:
    """[O, I] fp32 on the NVFP4 grid: amax / 6 of a block as E4M3, in units of a scale of the whole tensor."""
    blocks = weight.float().view(-1, 16)
    whole = (blocks.abs().max() / (_MAX_E2M1 * _MAX_E4M3)).clamp(min=torch.finfo(torch.float32).tiny)
    scale = (blocks.abs().amax(1, keepdim=True) / _MAX_E2M1 / whole).to(torch.float8_e4m3fn).float() * whole
    return (round_e2m1(blocks / torch.where(scale == 0, 1.0, scale)) * scale).view(weight.shape)


FORMATS: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
    "int4 g32": (4.5, lambda w: fake_quantize(w, 32).float()),
    "int4 g64": (4.25, lambda w: fake_quantize(w, 64).float()),
    "int4 g128": (4.125, lambda w: fake_quantize(w, 128).float()),
    "mxfp4": (4.25, mxfp4),
    "nvfp4": (4.5, nvfp4),
}
"""Name -> bits a weight with its scales, and the rounding."""


def fits(name: str, num_in: int) -> bool:
    """Whether a row of this length is whole groups of the format; else it is left in BF16, as an engine would."""
    return name != "int4 g128" or num_in % 128 == 0


class _Texts:
    """Token sequences, and the positions in them that predict a token that counts."""

    def __init__(self, folder: Path) -> None:
        chat = ChatFormat(folder, use_template=True)
        gym = Arithmetic(ArithmeticSettings(min_operand=1, max_operand=49), Services())

        def answered(messages: Sequence[Message], task: Task) -> tuple[tuple[int, ...], int]:
            prompt = chat.prompt_ids(messages)
            return prompt + tuple(chat.tokenizer.encode(gym.gold(task), add_special_tokens=False)), len(prompt)

        self.sums = [answered(task.prompt, task) for task in _spread(gym.tasks("heldout"), NUM_TASKS)]
        solved = [
            part
            for task in _spread(gym.tasks("train"), NUM_SOLVED)
            for part in (*task.prompt, message("assistant", gym.gold(task)))
        ]
        asked = [answered([*solved, *task.prompt], task) for task in _spread(gym.tasks("heldout"), NUM_ASKED)]
        self.asked = [((*ids, chat.end_token_ids[0]), start) for ids, start in asked]
        prose = chat.tokenizer.encode((ROOT / "LICENSE").read_text())[:PROSE_TOKENS]
        half = len(prose) // 2
        self.prose = [(tuple(prose[:half]), 1), (tuple(prose[half:]), 1)]


def _spread(tasks: Sequence[Task], num: int) -> list[Task]:
    """So many of them, at equal distances."""
    return [tasks[i * len(tasks) // num] for i in range(num)]


@torch.no_grad()
def _logits(model: Any, texts: Sequence[tuple[tuple[int, ...], int]]) -> list[tuple[Tensor, Tensor]]:
    """For each text: [n, V] log-probabilities at the positions that count, and the [n] tokens that follow."""
    found = []
    for ids, start in texts:
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, start - 1 : -1]
        found.append((torch.log_softmax(logits.float(), -1), torch.tensor(ids[start:])))
    return found


@torch.no_grad()
def right_answers(model: Any, texts: Sequence[tuple[tuple[int, ...], int]]) -> Tensor:
    """[n] 1 where each token of an answer is the most probable one, so where greedy decoding gives that answer.

    What all prompts begin with is computed once.
    """
    columns = zip(*(ids[: start - 1] for ids, start in texts), strict=False)
    num_shared = sum(1 for _ in itertools.takewhile(lambda column: len(set(column)) == 1, columns))
    shared = model(input_ids=torch.tensor([texts[0][0][:num_shared]]), use_cache=True).past_key_values
    found = []
    for ids, start in texts:
        rest = torch.tensor([ids[num_shared:]])
        best = model(input_ids=rest, past_key_values=copy.deepcopy(shared), use_cache=True).logits[0].argmax(-1)
        found.append(best[start - 1 - num_shared : -1].tolist() == list(ids[start:]))
    return torch.tensor(found, dtype=torch.float32)


def _compare(ours: Sequence[tuple[Tensor, Tensor]], exact: Sequence[tuple[Tensor, Tensor]]) -> dict[str, float]:
    kl = torch.cat([(p.exp() * (p - q)).sum(-1) for (q, _), (p, _) in zip(ours, exact, strict=True)])
    picked = [
        [row.gather(1, targets[:, None])[:, 0] for row, targets in side] for side in (ours, exact)
    ]  # fmt: skip
    gap = torch.cat(picked[0]) - torch.cat(picked[1])
    return {"kl": float(kl.mean()), "gap": float(gap.abs().mean()), "num_tokens": len(kl)}


@torch.no_grad()
def measure(folder: Path) -> dict[str, dict[str, float]]:
    """What each format costs, by its name."""
    from transformers import AutoModelForCausalLM

    texts = _Texts(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    table = quantized_views(model, QuantScheme())
    weights = {name: view.clone() for entry in table for name, view in entry.views}
    exact = {"sums": _logits(model, texts.sums), "prose": _logits(model, texts.prose)}
    right = right_answers(model, texts.asked)
    results = {"bf16": {"bits": 16.0, "error": 0.0, "right": float(right.mean())}}
    for name, (bits, quantise) in FORMATS.items():
        error = size = 0.0
        for entry in table:
            for key, view in entry.views:
                original = weights[key]
                view.copy_(quantise(original) if fits(name, original.shape[1]) else original)
                error += float((view - original).square().sum())
                size += float(original.square().sum())
        found = {"sums": _logits(model, texts.sums), "prose": _logits(model, texts.prose)}
        costs = {f"{part}_{k}": v for part in found for k, v in _compare(found[part], exact[part]).items()}
        change = right_answers(model, texts.asked) - right
        costs |= {
            "right": float((right + change).mean()),
            "right_change": float(change.mean()),
            "right_change_stderr": float(change.std() / NUM_ASKED**0.5),
        }
        results[name] = {"bits": bits, "error": (error / size) ** 0.5, **costs}
        print(name, json.dumps(results[name]), flush=True)
    return results


# -- the page ---------------------------------------------------------------------------------------------------------


def page(facts: dict[str, Any]) -> str:
    """docs/formats.md, from the content of docs/formats.json."""
    formats = {name: found for name, found in facts["formats"].items() if name != "bf16"}
    rows = "".join(_row(name, found) for name, found in formats.items())
    whole = facts["formats"]["bf16"]["right"]
    machine_line = ", ".join(f"{key} {value}" for key, value in facts["machine"].items())
    return f"""# Number formats

What rounding alone costs, without training for it, on the weights of {facts["model"]}: INT4 in groups of 32, 64 and 128
against the 4-bit floats of newer GPUs. Written by `python -m benchmarks.formats --write`, which says how each is
computed; the float formats are emulated.

| format | bits a weight | error of the weights | KL on sums | KL on prose | gap on sums | gap on prose | right |
|---|---|---|---|---|---|---|---|
{rows}
![KL and error by format](images/formats.svg)

- **error**: ||Q(W) - W|| / ||W|| over every matrix that `quant.ignore` leaves over.
- **KL, gap**: nats a token between the BF16 model and the rounded one: KL(BF16 || Q), and the mean difference of the
  log-probabilities of the very tokens. Sums: gold answers of {NUM_TASKS} held-out arithmetic tasks
  ({formats["mxfp4"]["sums_num_tokens"]:.0f} tokens). Prose: {PROSE_TOKENS} tokens of LICENSE, which the model
  has seen in training.
- **right**: of {NUM_ASKED} held-out sums, asked behind {NUM_SOLVED} solved ones, those that greedy decoding answers
  rightly, and what is missing to BF16's {whole:.3f}, with its standard error over the sums, each compared with itself.
- INT4 in groups of 128 leaves matrices whose rows are no multiple of 128 in BF16 (576 columns, most of this model):
  its row is no comparison, and its error is spread over all of them.
- Some 500 tokens a text: groups of 64 look better than groups of 32 on sums and worse on prose. The error of the
  weights, over 100 million of them, is the firm figure.
- Rounding all matrices took two thirds to four fifths of the right sums, whatever the format.

Read with care: one small model, whose weights come out of a 4-bit file (Q4_1) and lie on that file's grid, rounding to
nearest, no calibration, and no training through the grid, which is what this project does with INT4 (docs/int4.md).

Found on: {machine_line}.
"""


def _row(name: str, found: dict[str, float]) -> str:
    costs = (f"{found[key]:.4f}" for key in ("sums_kl", "prose_kl", "sums_gap", "prose_gap"))
    label = f"{name} (a part, see below)" if name == "int4 g128" else name
    right = f"{found['right']:.3f}, {found['right_change']:+.3f} +- {found['right_change_stderr']:.3f}"
    cells = (label, f"{found['bits']:g}", f"{found['error']:.2%}", *costs, right)
    return f"| {' | '.join(cells)} |\n"


def plot(formats: dict[str, dict[str, float]]) -> str:
    """Bars of the KL on prose, with the error of the weights beside each: an SVG."""
    formats = {name: found for name, found in formats.items() if name != "bf16"}
    largest = max(found["prose_kl"] for found in formats.values())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="{40 + 34 * len(formats)}" '
        'font-family="sans-serif" font-size="14"><rect width="100%" height="100%" fill="white"/>',
        '<text x="12" y="22" font-weight="bold">KL(BF16 || rounded) on prose, nats a token</text>',
    ]
    for i, (name, found) in enumerate(formats.items()):
        y, width = 36 + 34 * i, 300 * found["prose_kl"] / largest
        color = "#3b6ea5" if name.startswith("int4") else "#c0792a"
        lines += [
            f'<text x="12" y="{y + 17}">{name}</text>',
            f'<rect x="100" y="{y}" width="{width:.1f}" height="24" fill="{color}"/>',
            f'<text x="{108 + width:.0f}" y="{y + 17}">{found["prose_kl"]:.4f} (error {found["error"]:.1%}, '
            f"{found['bits']:g} bits)</text>",
        ]
    return "\n".join([*lines, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/smollm2-135m-instruct"), help="BF16 folder")
    parser.add_argument("--write", action="store_true", help="write docs/formats.json, .md and the plot")
    options = parser.parse_args()
    facts = {"model": options.model.name, "machine": machine(), "formats": measure(options.model)}
    if options.write:
        RESULTS.write_text(json.dumps(facts, indent=1) + "\n")
        PAGE.write_text(page(facts))
        PLOT.write_text(plot(facts["formats"]))
    else:
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
