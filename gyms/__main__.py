"""`python -m gyms list | info NAME | validate NAME`: look at gyms and check them, without a run.

NAME is an entry-point name, `module:Class` or `file.py:Class`. `--json` prints one JSON object for programs. The exit
status is 0 when all is well, 1 when a gym breaks its contract, 2 when it cannot be loaded.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import sys
from typing import Any

from gyms.api import Services
from gyms.load import distribution_of, gym_names, load_gym, resolve
from gyms.testing import GymContractError, check_gym


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    options = _parser().parse_args(argv)
    try:
        facts = options.run(options)
    except GymContractError as error:
        return _fail(options, str(error), status=1)
    except ValueError as error:
        return _fail(options, str(error), status=2)
    print(json.dumps(facts) if options.json else _as_text(facts))
    return 0


def list_gyms(options: argparse.Namespace) -> dict[str, Any]:
    """Installed gyms and the packages that offer them; imports none of them."""
    return {
        name: " AND ".join(f"{entry.value} of {distribution_of(entry)}" for entry in found)
        for name, found in gym_names().items()
    }


def info(options: argparse.Namespace) -> dict[str, Any]:
    """What a gym says of itself, and its settings as a JSON schema."""
    gym_class = resolve(options.name)
    schema = gym_class.Settings.model_json_schema()
    return {
        "gym": options.name,
        "class": f"{gym_class.__module__}:{gym_class.__qualname__}",
        "about": inspect.getdoc(gym_class) or "",
        "api_version": gym_class.api_version,
        "needs": dataclasses.asdict(gym_class.needs),
        "baseline": gym_class.baseline,
        "minimum": gym_class.minimum,
        "settings": schema.get("properties", {}),
    }


def validate(options: argparse.Namespace) -> dict[str, Any]:
    """Run `check_gym` on a gym with the given settings."""
    try:
        args = json.loads(options.args)
    except ValueError as error:
        raise ValueError(
            f"--args: expected a JSON object such as '{{\"max_operand\": 49}}', got {options.args!r}"
        ) from error
    if not isinstance(args, dict):
        raise ValueError(f"--args: expected a JSON object, got {options.args!r}")
    gym = load_gym(options.name, options.name, args, Services(), config_key="--")
    check_gym(gym)
    sizes = {split: len(gym.tasks(split)) for split in ("train", "heldout")}
    return {"gym": options.name, "is_valid": True, "num_tasks": sizes}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gyms", description="Look at gyms and check them.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, name, help_text in (
        (list_gyms, "list", "installed gyms"),
        (info, "info", "a gym's settings and limits"),
        (validate, "validate", "check a gym against the contract"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="print JSON")
        if name != "list":
            command.add_argument("name", metavar="NAME", help="entry point, module:Class or file.py:Class")
        if name == "validate":
            command.add_argument("--args", default="{}", metavar="JSON", help="the gym's settings")
    return parser


def _as_text(facts: dict[str, Any]) -> str:
    lines = []
    for key, value in facts.items():
        if key == "settings":
            lines.append("settings:")
            lines += [
                f"  {name} = {field.get('default')!r}: {field.get('description', '')}" for name, field in value.items()
            ]
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(lines) or "no gyms are installed"


def _fail(options: argparse.Namespace, message: str, *, status: int) -> int:
    if options.json:
        print(json.dumps({"is_valid": False, "error": message}))
    else:
        print(message, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
