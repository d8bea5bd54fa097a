"""The parser of `python -m gyms`, and what its commands have in common.

A command is a function from parsed options to facts (a dict), or to None where it printed by itself; with it comes a
function from the facts to what people are shown (gyms/cli/show.py). With `--json` the facts are the only thing on
standard output, as one JSON document, errors included; what a gym prints goes to standard error.

Further commands come from the entry-point group `gyms_commands`: `score` lives in the reward room, whose workers it
needs and which this room must not import.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gyms.cli import audit, catalog, doctor, look, scaffold, validate
from gyms.cli.show import Block, Grid, show, stdout_to_stderr
from gyms.plugins import COMMAND_GROUP, entry_points_of
from gyms.testing import GymContractError

__all__ = ["main"]

_VERDICTS = ("is_valid", "is_clean", "is_well")
"""Facts that decide the exit status: 1 where one of them is False."""

_EXIT = """\
Exit status:
  0  all is well
  1  a check failed: a gym breaks its contract or cannot be imported, an attack paid, no gym reads the file, this
     machine lacks what is needed
  2  wrong use, or what was named cannot be loaded
  130  Ctrl-C
With --json standard output holds one JSON document and nothing else; errors are {"is_valid": false, "error": "..."}.
"""

_EPILOG = f"""\
A gym NAME is an entry point (see `list`), module:Class, file.py:Class, reasoning_gym:DATASET, or package:name where two
packages offer one name.

  python -m gyms list --check                      which gyms are installed, and which of them cannot be imported
  python -m gyms info math                         its settings with their meaning, its needs and limits
  python -m gyms look train.parquet                which gym reads this file, and with which settings
  python -m gyms validate math --args '{{...}}'      does it keep the contract: gold scores 1, garbage nothing, ...
  python -m gyms audit math                        does any of the usual hacks score above its baseline
  python -m gyms score --input rows.jsonl --output scores.jsonl
  python -m gyms doctor                            which sandbox tiers and programs work here, and why others do not
  python -m gyms new my_gym                        an installable plug-in with a passing test, to be filled in

{_EXIT}"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Command:
    run: Callable[[argparse.Namespace], dict[str, Any]]
    show: Callable[[Mapping[str, Any]], Iterable[Block]]
    help: str


_COMMANDS = {
    "list": _Command(
        run=catalog.list_gyms, show=catalog.show_list, help="installed gyms, and the packages that offer them"
    ),
    "info": _Command(run=catalog.info, show=catalog.show_info, help="a gym's settings, needs and limits"),
    "look": _Command(run=look.look, show=look.show_look, help="what a file of rows holds, and which gym reads it"),
    "validate": _Command(run=validate.validate, show=validate.show_validate, help="check a gym against the contract"),
    "audit": _Command(run=audit.audit, show=audit.show_audit, help="try the usual hacks on a gym"),
    "doctor": _Command(
        run=doctor.doctor, show=doctor.show_doctor, help="what works on this machine: sandbox, programs, libraries"
    ),
    "new": _Command(run=scaffold.new, show=scaffold.show_new, help="start an installable gym plug-in"),
}


def main(argv: list[str] | None = None, *, prog: str = "") -> int:
    """Run the command line; the exit status."""
    options = _parser(prog or _called_as()).parse_args(argv)
    try:
        facts = options.run(options)
        if facts is not None and options.json:
            print(json.dumps(facts))
        elif facts is not None:
            show(options.show(facts))
        sys.stdout.flush()
    except GymContractError as error:
        return _fail(options, str(error), status=1)
    except ValueError as error:
        return _fail(options, str(error), status=2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has seen enough
        return 1
    except KeyboardInterrupt:
        return 130
    return 1 if facts is not None and any(facts.get(verdict) is False for verdict in _VERDICTS) else 0


def _called_as() -> str:
    return "gyms" if os.path.basename(sys.argv[0]) == "gyms" else "python -m gyms"  # noqa: PTH119


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Look at gyms, check them, attack them, score stored answers with them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(show=_show_facts)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in _COMMANDS.items():
        added = commands.add_parser(
            name,
            help=command.help,
            description=command.run.__doc__,
            epilog=_EXIT,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        added.set_defaults(run=_apart(command.run), show=command.show)
        added.add_argument("--json", action="store_true", help="print the facts as one JSON document")
        if name in ("info", "validate", "audit"):
            added.add_argument("name", metavar="NAME", help="entry point, module:Class, file.py:Class, ...")
        if name in ("validate", "audit"):
            added.add_argument("--args", default="{}", metavar="JSON", help="the gym's settings")
            most = 200 if name == "audit" else 50
            added.add_argument("--max-tasks", type=int, default=most, metavar="N", help="tasks looked at of each split")
        if name == "validate":
            added.add_argument(
                "--episodes", type=int, default=1000, metavar="N", help="random episodes that an environment is played"
            )
        if name == "audit":
            added.add_argument("--seconds", type=float, default=60.0, metavar="S", help="time for all attacks together")
            added.add_argument(
                "--attacks",
                default="",
                metavar="module:function",
                help="attacks of your own: (gym, task) -> name: response",
            )
        if name == "look":
            added.add_argument("file", metavar="FILE", help="JSON lines, JSON array, Parquet or CSV; packed or not")
            added.add_argument("--max-rows", type=int, default=1000, metavar="N", help="rows looked at; default: 1000")
            added.add_argument("--gym", default="", metavar="NAME", help="only this gym, which may be a plug-in")
        if name == "list":
            added.add_argument("--check", action="store_true", help="import each gym, in a process of its own")
        if name == "new":
            added.add_argument("name", metavar="NAME", help="name of the gym: lower-case letters, digits, _")
            added.add_argument("--into", default=".", metavar="FOLDER", help="place of its folder; default: here")
    for entry in entry_points_of(COMMAND_GROUP):
        entry.load()(commands)
    return parser


def _apart(run: Callable[[argparse.Namespace], dict[str, Any]]) -> Callable[[argparse.Namespace], dict[str, Any]]:
    def run_apart(options: argparse.Namespace) -> dict[str, Any]:
        with stdout_to_stderr():
            return run(options)

    return run_apart


def _show_facts(facts: Mapping[str, Any]) -> Iterable[Block]:
    """For commands of other packages: a row for each fact."""
    rows = [[name.replace("_", " "), _as_text(value)] for name, value in facts.items()]
    yield Grid(columns=("", ""), rows=rows)


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_as_text(part)}" for name, part in value.items()) or "none"
    return "-" if value is None else "yes" if value is True else "no" if value is False else str(value)


def _fail(options: argparse.Namespace, message: str, *, status: int) -> int:
    if options.json:
        print(json.dumps({"is_valid": False, "error": message}))
    else:
        print(message, file=sys.stderr)
    return status
