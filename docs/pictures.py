"""Draws the pictures of docs/int4.md and docs/colocation.md: `python docs/pictures.py` writes docs/images/*.svg.

The numbers in them are computed by the code that they explain, or stand in the page's table; a test holds the files
against this one. Colours are Okabe and Ito's, which colour-blind people can tell apart; each is also named by a word.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import torch

from rollout.quant.grid import quantize
from rollout.quant.pack import pack_int4

IMAGES = Path(__file__).parent / "images"
BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442"
INK, GREY = "#222222", "#888888"
WEIGHTS = (0.31, -0.12, 0.05, -0.44, 0.70, 0.18, -0.26, 0.02)
"""One group of 8, as masters may hold it. A real group has 32."""

PARTS: Sequence[tuple[str, float, str, tuple[bool, bool, bool]]] = (
    ("fp32 masters", 4.0, BLUE, (True, True, True)),
    ("model that computes, bf16", 2.0, SKY, (True, True, True)),
    ("codes of the last refresh", 0.56, GREEN, (True, True, True)),
    ("AdamW's two moments", 8.0, PURPLE, (False, True, True)),
    ("engine: packed weights", 0.56, ORANGE, (False, True, True)),
    ("engine: the next version", 0.56, YELLOW, (False, True, True)),
    ("artefact in shared memory", 0.56, GREY, (True, True, True)),
    ("the one before, or after it", 0.56, "#cccccc", (False, True, True)),
    ("gradients, during an update", 4.0, "#ffffff", (False, False, True)),
)
"""Bytes a parameter, and whether they are held at the start, while generating, while learning (docs/colocation.md)."""


def int4_picture() -> str:
    """A group of weights, the grid it is rounded to, and the word that it becomes."""
    found = quantize(torch.tensor([WEIGHTS]), group_size=8)
    codes, scale = found.codes[0].tolist(), float(found.scale[0, 0])
    (word,) = pack_int4(found.codes)[0].tolist()

    def x(value: float) -> float:
        return 400 + value / scale * 48

    body = [_text(20, 30, "1. The group's largest weight is divided by 7: the scale", bold=True)]
    body += [_text(20, 52, f"scale = bf16(max|w| / 7) = bf16({max(map(abs, WEIGHTS)):g} / 7) = {scale:g}")]
    body += [_text(20, 92, "2. Every weight goes to the nearest of 15 multiples of it", bold=True)]
    body += [f'<line x1="40" y1="190" x2="760" y2="190" stroke="{INK}"/>']
    for code in range(-7, 8):
        body += [f'<line x1="{x(code * scale):g}" y1="184" x2="{x(code * scale):g}" y2="196" stroke="{INK}"/>']
        body += [_text(x(code * scale), 214, str(code), size=12, middle=True)]
    for i, (weight, code) in enumerate(zip(WEIGHTS, codes, strict=True)):
        top = 118 + 15 * (i % 3)
        body += [f'<circle cx="{x(weight):.1f}" cy="{top}" r="4" fill="{BLUE}"/>']
        body += [
            f'<line x1="{x(weight):.1f}" y1="{top + 5}" x2="{x(code * scale):.1f}" y2="183" stroke="{ORANGE}" '
            'stroke-width="1.5"/>'
        ]
        body += [_text(x(weight) + 7, top + 4, f"{weight:g}", size=11)]
    body += [
        _text(20, 256, "3. Eight codes, plus 8 each, make one 32-bit word; the first is in the lowest bits", bold=True)
    ]
    for i, code in enumerate(reversed(codes)):
        left = 40 + 90 * i
        body += [f'<rect x="{left}" y="272" width="90" height="44" fill="none" stroke="{INK}"/>']
        body += [_text(left + 45, 291, f"{code:+d} + 8 = {code + 8}", size=12, middle=True)]
        body += [_text(left + 45, 309, f"{code + 8:04b}", size=12, middle=True)]
    body += [
        _text(40, 340, f"word = 0x{word & 0xFFFFFFFF:08x}: 4 bits a weight, and the scale, 16 bits for 32 weights")
    ]
    body += [_text(20, 380, "4. Learner and engine compute with the same values: bf16(code x scale)", bold=True)]
    values = ", ".join(f"{value:g}" for value in (torch.tensor(codes) * found.scale[0, 0]).to(torch.bfloat16).tolist())
    body += [_text(40, 402, values, size=13)]
    return _svg(800, 420, "A group of weights, rounded to the INT4 grid and packed", body)


def memory_picture() -> str:
    """What is held at the start, while the engines generate and while the learner learns, in bytes a parameter."""
    per_byte, body = 30.0, [_text(20, 30, "Bytes a parameter, one engine, without KV cache and activations", bold=True)]
    for row, name in enumerate(("start", "generating", "learning")):
        top, left = 50 + 74 * row, 110.0
        body += [_text(20, top + 28, name)]
        for _, size, colour, held in PARTS:
            if held[row]:
                dash = ' stroke-dasharray="4 3"' if colour == "#ffffff" else ""
                body += [
                    f'<rect x="{left:.1f}" y="{top}" width="{size * per_byte:.1f}" height="44" fill="{colour}" '
                    f'stroke="{INK}"{dash}/>'
                ]
                left += size * per_byte
        total = sum(size for _, size, _, held in PARTS if held[row])
        body += [_text(left + 8, top + 28, f"{total:.1f}")]
    for i, (what, size, colour, _) in enumerate(PARTS):
        left, top = 20 + 390 * (i % 2), 284 + 26 * (i // 2)
        body += [f'<rect x="{left}" y="{top}" width="16" height="16" fill="{colour}" stroke="{INK}"/>']
        body += [_text(left + 24, top + 13, f"{what}: {size:g}", size=13)]
    return _svg(800, 422, "Memory of the learner's and the engines' turn", body)


PICTURES = {"int4.svg": int4_picture, "colocation.svg": memory_picture}


def _text(x: float, y: float, words: str, *, size: int = 14, bold: bool = False, middle: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    anchor = ' text-anchor="middle"' if middle else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}"{weight}{anchor}>{escape(words)}</text>'


def _svg(width: int, height: int, title: str, body: Sequence[str]) -> str:
    """A white sheet, so that it reads on a dark page too."""

    def lines() -> Iterator[str]:
        yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img"'
        yield f'  font-family="sans-serif" fill="{INK}"><title>{escape(title)}</title>'
        yield f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
        yield from body
        yield "</svg>"

    return "\n".join(lines()) + "\n"


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (IMAGES / name).write_text(draw(), encoding="utf-8")
    sys.exit(0)
