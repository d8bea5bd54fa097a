"""How tools are spelled: the same tools under other names, so that a model reads specifications instead of recalling.

A task has one dialect. It renames tools and their arguments, both ways; what they do, and what is said of them, stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gyms.api import Tool

__all__ = ["DIALECTS", "canonical", "spelled", "spelled_arguments", "spelled_name", "spelled_text"]


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _noun_first(name: str) -> str:
    verb, *others = name.split("_")
    return "_".join([*others, verb])


def _same(name: str) -> str:
    return name


DIALECTS: Mapping[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "plain": (_same, _same),
    "camel": (_camel, _camel),
    "noun_first": (_noun_first, _same),
    "dashed": (lambda name: name.replace("_", "-"), lambda name: name.replace("_", "-")),
}
"""Name -> how a tool is spelled, and how an argument is."""


def spelled_name(name: str, dialect: str) -> str:
    """A tool's name in a dialect.

    Example:
        spelled_name("list_events", "camel") == "listEvents"
    """
    return DIALECTS[dialect][0](name)


def spelled_arguments(arguments: Mapping[str, Any], dialect: str) -> dict[str, Any]:
    """Arguments under their names in a dialect."""
    return {DIALECTS[dialect][1](name): value for name, value in arguments.items()}


def spelled_text(text: str, tools: Sequence[Tool], dialect: str) -> str:
    """What is said of tools, with their names as in a dialect."""
    for tool in tools:
        text = text.replace(tool.name, spelled_name(tool.name, dialect))
    return text


def spelled(tool: Tool, tools: Sequence[Tool], dialect: str) -> Tool:
    """A tool in a dialect; descriptions name the other tools as the dialect does."""
    properties = {
        name: {**schema, "description": spelled_text(schema["description"], tools, dialect)}
        if "description" in schema
        else schema
        for name, schema in tool.parameters["properties"].items()
    }
    parameters = {
        **tool.parameters,
        "properties": spelled_arguments(properties, dialect),
        "required": list(spelled_arguments(dict.fromkeys(tool.parameters["required"]), dialect)),
    }
    return replace(
        tool,
        name=spelled_name(tool.name, dialect),
        description=spelled_text(tool.description, tools, dialect),
        parameters=parameters,
    )


def canonical(
    name: str, arguments: Mapping[str, Any], tools: Sequence[Tool], dialect: str
) -> tuple[str, dict[str, Any]]:
    """A call as the world knows it; the name is one that the dialect gives to one of the tools."""
    (tool,) = [tool for tool in tools if spelled_name(tool.name, dialect) == name]
    spelling = {DIALECTS[dialect][1](own): own for own in tool.parameters["properties"]}
    return tool.name, {spelling[given]: value for given, value in arguments.items()}
