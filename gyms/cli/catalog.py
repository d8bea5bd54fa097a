"""`list` and `info`: which gyms there are, and what one says of itself."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from gyms.api import Environment
from gyms.cli.show import Block, Grid, listed
from gyms.load import distribution_of, gym_names, resolve
from gyms.plugins import is_legal_name

__all__ = ["info", "list_gyms", "show_info", "show_list"]

_CHECK_SECONDS = 60.0


def list_gyms(options: argparse.Namespace) -> dict[str, Any]:
    """Installed gyms and the packages that offer them; imports none of them, unless --check is given."""
    gyms = []
    for name, found in gym_names().items():
        problem = ""
        if len(found) > 1:
            problem = "several packages offer this name: uninstall one, or write package:name"
        elif not is_legal_name(name):
            problem = "not a legal name: lower-case letters, digits, '_', '-', '.'"
        elif options.check:
            problem = _probe(name)
        for entry in found:
            gyms.append({"name": name, "gym": entry.value, "package": distribution_of(entry), "problem": problem})
    return {
        "is_well": not any(gym["problem"] for gym in gyms),
        "is_checked": options.check,
        "gyms": gyms,
    }


def show_list(facts: Mapping[str, Any]) -> Iterator[Block]:
    """A row for each gym, with its problem where one has any."""
    gyms = facts["gyms"]
    if not gyms:
        yield "no gyms are installed (`pip install -e .` registers the built-in ones)"
        return
    columns = ["name", "gym", "package"]
    if facts["is_checked"] or not facts["is_well"]:
        columns.append("problem")
    yield Grid(columns=columns, rows=[[gym[column] or "none" for column in columns] for gym in gyms])


def info(options: argparse.Namespace) -> dict[str, Any]:
    """What a gym says of itself, and its settings as a JSON schema."""
    gym_class = resolve(options.name, config_key="NAME")
    schema = gym_class.Settings.model_json_schema()
    for name, field in gym_class.Settings.model_fields.items():
        if field.default_factory is not None and not field.default_factory_takes_validated_data:  # no schema has these
            schema["properties"][name]["default"] = to_jsonable_python(field.get_default(call_default_factory=True))
    return {
        "gym": options.name,
        "class": f"{gym_class.__module__}:{gym_class.__qualname__}",
        "about": inspect.getdoc(gym_class) or "",
        "api_version": gym_class.api_version,
        "needs": dataclasses.asdict(gym_class.needs),
        "baseline": gym_class.baseline,
        "minimum": gym_class.minimum,
        "components": dict(gym_class.components),
        "scores_groups": gym_class.scores_groups,
        "max_turns": gym_class.max_turns if issubclass(gym_class, Environment) else 1,
        "settings": schema.get("properties", {}),
        "required": schema.get("required", []),
    }


def _default(field: Mapping[str, Any]) -> str:
    """As JSON; empty where it is made from other settings."""
    return json.dumps(field["default"]) if "default" in field else ""


def show_info(facts: Mapping[str, Any]) -> Iterator[Block]:
    """What it is, its settings, what it needs, what its scores hold."""
    yield f"{facts['gym']}  ({facts['class']})\n{facts['about']}".rstrip()
    settings = [
        [
            name,
            "required" if name in facts["required"] else _default(field),
            " ".join(str(field.get("description", "")).split()),
        ]
        for name, field in facts["settings"].items()
    ]
    if settings:
        yield Grid(
            title="Settings (args of a run, --args here)", columns=("setting", "default", "meaning"), rows=settings
        )
    if facts["max_turns"] > 1:
        yield f"An environment of at most {facts['max_turns']} turns; what one call may use holds for each turn."
    yield Grid(title="What one score may use", columns=("", ""), rows=_needs(facts["needs"]))
    rows = [[name, meaning] for name, meaning in facts["components"].items()]
    rows.append(
        ["value", f"from {facts['minimum']:g} to 1; a useless answer gets at most {facts['baseline']:g} on average"]
    )
    yield Grid(title="What a score holds", columns=("", ""), rows=rows)


def _needs(needs: Mapping[str, Any]) -> list[list[str]]:
    cpu = needs["cpu_seconds"]
    granted = [name for name in ("sandbox", "judge", "processes", "network") if needs[name]]
    return [
        ["time", f"{needs['wall_seconds']:g} s" + (f", {cpu:g} s of CPU" if cpu else "")],
        ["memory", f"{needs['memory_bytes'] / 2**30:g} GiB of address space"],
        ["besides", listed(granted, none="nothing: no sandbox, judge, processes or network")],
    ]


def _probe(name: str) -> str:
    """Nothing, or why the gym cannot be imported; in a process of its own, since importing runs foreign code."""
    code = "import sys\nfrom gyms.load import resolve\ntry:\n    resolve(sys.argv[1])\nexcept ValueError as error:\n"
    code += "    sys.exit(str(error))\n"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, name],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_CHECK_SECONDS,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return f"importing it takes over {_CHECK_SECONDS:g} s"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"importing it ended with status {done.returncode}"
