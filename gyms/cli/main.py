"""The parser of `python -m gyms`, and what its commands have in common.

A command is a function from parsed options to facts (a dict), or to None where it printed by itself. `--json` prints
the facts as one JSON object. The exit status is 0 when all is well, 1 when a gym breaks its contract or an attack paid,
2 when something cannot be loaded or was asked for wrongly, 130 after Ctrl-C.

Further commands come from the entry-point group `gyms_commands`: `score` lives in the reward room, whose workers it
needs and which this room must not import.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from gyms.cli.audit import audit
from gyms.cli.doctor import doctor
from gyms.cli.look import info, list_gyms, validate
from gyms.cli.scaffold import new
from gyms.plugins import COMMAND_GROUP, entry_points_of
from gyms.testing import GymContractError

__all__ = ["main"]

_EPILOG = """\
A gym NAME is an entry point (see `list`), module:Class, file.py:Class, reasoning_gym:DATASET, or package:name where two
packages offer one name.

  python -m gyms list --check                      which gyms are installed, and which of them cannot be imported
  python -m gyms info math                         its settings with their meaning, its needs and limits
  python -m gyms validate math --args '{...}'      does it keep the contract: gold scores 1, garbage nothing, ...
  python -m gyms audit math                        does any of the usual hacks score above its baseline
  python -m gyms score --input rows.jsonl --output scores.jsonl
  python -m gyms doctor                            which sandbox tiers and toolchains work here, and why others do not
  python -m gyms new my_gym                        an installable plug-in with a passing test, to be filled in

Exit status: 0 well, 1 a gym broke its contract or an attack paid, 2 wrong use.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    options = _parser().parse_args(argv)
    try:
        facts = options.run(options)
    except GymContractError as error:
        return _fail(options, str(error), status=1)
    except ValueError as error:
        return _fail(options, str(error), status=2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has seen enough
        return 1
    except KeyboardInterrupt:
        return 130
    if facts is not None:
        print(json.dumps(facts) if options.json else _as_text(facts))
    return 1 if facts is not None and facts.get("is_clean") is False else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gyms",
        description="Look at gyms, check them, attack them, score stored answers with them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, name, help_text in (
        (list_gyms, "list", "installed gyms, and the packages that offer them"),
        (info, "info", "a gym's settings, needs and limits"),
        (validate, "validate", "check a gym against the contract"),
        (audit, "audit", "try the usual hacks on a gym"),
        (doctor, "doctor", "what works on this machine: sandbox tiers, toolchains, plug-ins"),
        (new, "new", "start an installable gym plug-in"),
    ):
        command = commands.add_parser(name, help=help_text, description=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="print one JSON object")
        if name in ("info", "validate", "audit"):
            command.add_argument("name", metavar="NAME", help="entry point, module:Class, file.py:Class, ...")
        if name in ("validate", "audit"):
            command.add_argument("--args", default="{}", metavar="JSON", help="the gym's settings")
            command.add_argument("--max-tasks", type=int, default=50, metavar="N", help="tasks looked at of each split")
        if name == "list":
            command.add_argument("--check", action="store_true", help="import each gym, in a process of its own")
        if name == "new":
            command.add_argument("name", metavar="NAME", help="name of the gym: lower-case letters, digits, _")
            command.add_argument("--into", default=".", metavar="FOLDER", help="place of its folder; default: here")
    for entry in entry_points_of(COMMAND_GROUP):
        entry.load()(commands)
    return parser


def _as_text(facts: dict[str, Any]) -> str:
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict) and value and all(isinstance(field, dict) for field in value.values()):
            lines.append(f"{key}:")
            lines += [f"  {_line(name, field)}" for name, field in value.items()]
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            lines.append(f"{key}:")
            lines += ["  " + ", ".join(f"{name} {item}" for name, item in entry.items()) for entry in value]
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(lines) or "no gyms are installed (`pip install -e .` registers the built-in ones)"


def _line(name: str, field: dict[str, Any]) -> str:
    if "description" in field or "default" in field:
        return f"{name} = {field.get('default')!r}: {field.get('description', '')}"
    return f"{name}: " + ", ".join(f"{key} {value}" for key, value in field.items())


def _fail(options: argparse.Namespace, message: str, *, status: int) -> int:
    if options.json:
        print(json.dumps({"is_valid": False, "error": message}))
    else:
        print(message, file=sys.stderr)
    return status
