r"""How fast the math gym scores, against Math-Verify called directly: `verify(parse(gold), parse(response))`.

    gsm8k      short worked answers that end in a boxed integer, half of them wrong
    fractions, surds, symbolic, sets, intervals, matrices, text, long: one case class each, right and wrong answers
    tower      9^{9^{9^9}} and its kin: seconds to refuse one, ours alone (Math-Verify burns its alarm of 5 s)

Both run in this process, on the same pairs, in alternating rounds; the best round of each counts. Math-Verify has its
alarm on, as it is called by default; our side sets no signal.

    python -m benchmarks.math_scoring [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from random import Random

from benchmarks.machine import machine
from gyms.math.normal import normalise
from gyms.math.read import read_plain
from gyms.math.verify import verify

__all__ = ["CASES", "measure"]

Pair = tuple[str, str]
TOWERS = ("9^{9^{9^9}}", "9**9**9**9", "10^{10^{10}}", "1000000000!", r"\binom{10^9}{5\cdot10^8}")
_STEPS = "First she has {a} and buys {b} more, so there are {a} + {b} = {c} of them. Half of them are given away. "


def _gsm8k(random: Random) -> Pair:
    a, b = random.randrange(10, 900), random.randrange(10, 900)
    said = a + b + random.choice((0, 1))
    return str(a + b), _STEPS.format(a=a, b=b, c=said) * 3 + rf"The answer is $\boxed{{{said}}}$."


def _of(*pairs: Pair) -> Callable[[Random], Pair]:
    def draw(random: Random) -> Pair:
        number = random.randrange(2, 90)
        gold, answer = random.choice(pairs)
        filled = [text.replace("@", str(number)) for text in (gold, answer)]
        return f"${filled[0]}$", rf"Therefore we get $\boxed{{{filled[1]}}}$."

    return draw


CASES: dict[str, Callable[[Random], Pair]] = {
    "gsm8k": _gsm8k,
    "fractions": _of((r"\frac{@}{97}", r"\dfrac{@}{97}"), (r"\frac{@}{4}", r"\frac{@}{3}"), ("@/97", r"\frac{@}{97}")),
    "surds": _of(
        (r"@\sqrt{2}", r"\sqrt{2}\cdot @"), (r"@\sqrt{3}", r"@\sqrt{2}"), (r"\frac{@}{\sqrt2}", r"\frac{@\sqrt2}{2}")
    ),
    "symbolic": _of(("(x+@)(x-1)", "x^2+@x-x-@"), ("x^2+@x", "x^2-@x"), (r"@\sin^2(x)", r"@-@\cos^2(x)")),
    "sets": _of((r"\{1,2,@\}", r"\{@,2,1\}"), (r"\{1,@\}", r"\{2,@\}")),
    "intervals": _of((r"(-\infty,@)\cup(99,\infty)", r"(99,\infty)\cup(-\infty,@)"), ("[1,@)", "(1,@)")),
    "matrices": _of(
        (r"\begin{pmatrix}1&@\\3&4\end{pmatrix}", r"\begin{bmatrix}1&@\\3&4\end{bmatrix}"),
        (r"\begin{pmatrix}1&@\\3&4\end{pmatrix}", r"\begin{pmatrix}1&@\\3&5\end{pmatrix}"),
    ),
    "text": _of((r"\text{even}", r"\text{even}"), (r"\text{even}", r"\text{odd}")),
    "long": lambda random: (lambda pair: (pair[0], _STEPS.format(a=1, b=2, c=3) * 200 + pair[1]))(_gsm8k(random)),
}


def measure(*, rounds: int = 5, num_pairs: int = 60) -> dict[str, float]:
    """Scores per second of both sides and their ratio for each case class; milliseconds to refuse a tower."""
    from math_verify import parse
    from math_verify import verify as reference

    found: dict[str, float] = {}
    for name, draw in CASES.items():
        random = Random(name)
        pairs = [draw(random) for _ in range(num_pairs)]
        ours = theirs = float("inf")
        for _ in range(rounds):
            ours = min(ours, _seconds(_verify_cold, pairs))
            theirs = min(theirs, _seconds(lambda gold, said: reference(parse(gold), parse(said)), pairs))
        found |= {
            f"{name}_ours_per_s": num_pairs / ours,
            f"{name}_math_verify_per_s": num_pairs / theirs,
            f"{name}_ratio": theirs / ours,
        }
    times = [_seconds(_verify_cold, [("391", rf"\boxed{{{tower}}}")]) for tower in TOWERS for _ in range(rounds)]
    return found | {"tower_worst_ms": 1000 * max(times)}


def _verify_cold(gold: str, response: str) -> bool:
    """Without what earlier rounds left in the cache of parsed answers."""
    read_plain.cache_clear()
    normalise.cache_clear()
    return verify(gold, response).is_right


def _seconds(score: Callable[[str, str], object], pairs: Sequence[Pair]) -> float:
    start = time.perf_counter()
    for gold, response in pairs:
        score(gold, response)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds; the best of each side counts")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    figures = measure(rounds=options.rounds)
    facts = machine() | {"math-verify": version("math-verify"), "sympy": version("sympy"), "mpmath": version("mpmath")}
    if options.json:
        print(json.dumps({"machine": facts, "command": "python -m benchmarks.math_scoring", **figures}))
        return
    print(" ".join(f"{name}={value}" for name, value in facts.items()))
    for name in CASES:
        ours, theirs = figures[f"{name}_ours_per_s"], figures[f"{name}_math_verify_per_s"]
        print(f"{name:10} ours {ours:8.0f}/s   math-verify {theirs:7.0f}/s   ratio {figures[f'{name}_ratio']:6.1f}x")
    print(f"tower      refused in {figures['tower_worst_ms']:.2f} ms at worst")


if __name__ == "__main__":
    main()
