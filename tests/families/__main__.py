"""Prove every architecture of the table, each in a process of its own; go on where one fails, and print the table.

    python -m tests.families                    all; about 20 seconds each on 2 cores
    python -m tests.families "Qwen 3" Mistral   some
    python -m tests.families --write            all, and docs/models.json and docs/models.md with what was found (of
                                                the named ones alone: the others keep what was found of them before)

Leaves with status 1 if anything that is claimed does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from tests.families.proof import check
from tests.families.shapes import FAMILIES, Family, build
from tests.families.table import page
from tests.integration.harness import ROOT

__all__ = ["prove_in_child", "refusal_of"]

RESULTS, PAGE = ROOT / "docs" / "models.json", ROOT / "docs" / "models.md"
SECONDS = 900
"""Until a proof counts as hung."""


def refusal_of(family: Family, scratch: Path) -> str:
    """What preflight says of a model of the family.

    Raises:
        AssertionError: it takes the model.
    """
    from configs.load import load_config
    from rl.preflight import check_model
    from rollout.engine.device import this_device

    build(family, scratch / "model")
    overrides = [
        f"model.path={scratch / 'model'}", "model.source=folder", "model.context_length=64",
        "model.chat_template=false",
        *([f"quant.ignore={json.dumps(list(family.ignore))}"] if family.ignore else ()),
    ]  # fmt: skip
    config = load_config([ROOT / "configs" / "tiny_cpu.toml"], overrides)
    try:
        check_model(config, scratch / "model", this_device())
    except ValueError as error:
        return str(error)
    raise AssertionError(f"preflight takes {family.name}")


def prove_in_child(family: Family) -> dict[str, Any]:
    """What is found of a family: `problems`, and either `refused` or the numbers of `tests.families.proof.prove`."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if family.refusal is not None:
            try:
                text = refusal_of(family, scratch)
            except AssertionError as error:
                return {"problems": [str(error)]}
            is_right = family.refusal in text
            return {"refused": text.replace(f"{scratch}/", ""), "problems": [] if is_right else [f"it says: {text}"]}
        file = scratch / "found.json"
        command = [sys.executable, "-m", "tests.families.proof", family.name, str(file)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, text=True, timeout=SECONDS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                check=False, env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"problems": [f"no end after {SECONDS} s"]}
        if not file.is_file():
            return {"problems": [last_error(done.stdout)], "output": done.stdout}
        found = json.loads(file.read_text())
        return {"problems": check(family, found), **found}


def last_error(output: str) -> str:
    """The line of a traceback that says what went wrong."""
    lines = [line for line in output.splitlines() if "Error" in line and not line.startswith(" ")]
    return lines[-1] if lines else "it ended without a result"


def summary(found: dict[str, Any]) -> str:
    """One line for people."""
    if found["problems"]:
        return "FAILS: " + "; ".join(found["problems"][:4])
    if "refused" in found:
        return f"refused: {found['refused']}"
    ratio = found["gap"] / found["gap_bf16"]
    return f"holds: gap {found['gap']:.4f}, {ratio:.2f} of that of BF16, {found['seconds']:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="names of the table; default: all")
    parser.add_argument("--write", action="store_true", help="write docs/models.json and docs/models.md")
    options = parser.parse_args()
    known = {family.name: family for family in FAMILIES}
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"there is no {unknown[0]!r}; known: {', '.join(known)}")
    fails = False
    for name in options.names or known:
        found = prove_in_child(known[name])
        fails |= bool(found["problems"])
        print(f"{name:26} {summary(found)}", flush=True)
        if found["problems"] and "output" in found:
            print("    " + "\n    ".join(found["output"].splitlines()[-12:]), flush=True)
        if options.write:
            write(name, {key: value for key, value in found.items() if key not in ("output", "problems")})
    sys.exit(fails)


def write(name: str, found: dict[str, Any]) -> None:
    """Put what was found of a family into docs/models.json, in the table's order, and write the page from it."""
    kept = json.loads(RESULTS.read_text())["families"] if RESULTS.is_file() else {}
    kept[name] = found
    facts = {"machine": machine(), "families": {f.name: kept[f.name] for f in FAMILIES if f.name in kept}}
    RESULTS.write_text(json.dumps(facts, indent=1) + "\n")
    PAGE.write_text(page(facts))


if __name__ == "__main__":
    main()
