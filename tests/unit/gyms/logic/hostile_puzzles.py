"""Answers that want to hang or crash a verifier of puzzles, scored under a limit of CPU time: a child of a test.

`python -m tests.unit.gyms.logic.hostile_puzzles DATASET...` prints how many scores there were; it ends with a traceback
where one is paid or masked, and by a signal where one does not end.
"""

from __future__ import annotations

import json
import resource
import sys

from gyms.api import Services, Task
from gyms.logic.gym import Logic, LogicSettings, library

CPU_SECONDS = 120
"""Far more than all of it takes; a hang is endless."""

ANSWERS = (
    *(sign * 19_999 for sign in "9-.I"),
    "(" * 9_999 + ")" * 9_999,
    "[" * 9_999 + "]" * 9_999,
    "\n" * 9_999 + "1",
    '{"a":' * 3_000 + "1" + "}" * 3_000,
    '["move(' + ", " * 9_000 + '"]',
    json.dumps(["move(a, square[1.0, 1.0])"] * 600),
    json.dumps([{"Agent[0.5, 0.5]": "move(box_a, " + ", " * 80}] * 80),
    json.dumps({"Agent": 10**4000}),
    "[1e999, -0, {}]",
    json.dumps(["fill A", "pour A->B"] * 900),
    "\u00ac" * 199 + "P",
    "(" * 99 + "P" + ")" * 99,
    "P\u2227" * 99 + "P",
    "(P\u2194" * 60 + "Q" + ")" * 60,
    "P Q",
    "()",
    "R9 " * 399 + "R9",
    "Rw'9 " * 399 + "Rw",
    "UDLR" * 1_250,
    "1 0 " * 499,
    *("1e999", "-1e-999", "nan", "inf", "9**9**9**9", "170!", "1/" + "0" * 30, "9" * 30 + "/" + "9" * 30),
    "exp(" * 40 + "x" + ")" * 40,
    "9**9**9**9**x",
    "A=1, " * 9 + "B=1",
    "A=9" + ", A=9" * 9,
    "a " * 1_999 + "a",
    "ab " * 1_999 + "ab",
    "F+9 " * 299 + "F+9",
    "A-9," * 299 + "A-9",
    "ABC" * 20,
    "\n".join(["Move disk 999 from Peg 999 to Peg 0"] * 500),
    "a" * 2_000,
    *("\u0663", "\u00b2", "\ud800", "\x00" * 500),
    "2 x " * 400 + "2",
    "1,2," * 3_000,
    *(sign.join(["1" * 30] * 10) + "x" for sign in (",", " , ", ".", "/", " ", "e1,", " days, ")),
    "+".join(["1"] * 99),
    "/".join(["9"] * 99),
    "(" * 99 + "1" + ")" * 99,
    "-" * 150 + "1",
    "True" * 4_000,
    " is a knight, " * 900,
    "99999 days, 99:99:99.999999",
    "0:" * 900,
)


def main(names: list[str]) -> int:
    """The number of scores; AssertionError where one is paid or is called a fault of ours."""
    gym = Logic(LogicSettings(), Services())
    count = 0
    for name in names:
        entry = dict(library().create_dataset(name, seed=5, size=10)[0])
        entry["metadata"] = {**entry["metadata"], "source_dataset": name}
        for answer in ANSWERS:
            score = gym.score(Task(id="t", prompt=(), data=entry), f"<answer>{answer}</answer>")
            assert not score.status.is_masked and not score.value, (name, answer[:60], score)
            count += 1
    return count


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    print(main(sys.argv[1:]))
