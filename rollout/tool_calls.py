"""Tool calls in a model's text: how families of models write them, and how one turn of a response is read.

| format | a call is written |
|---|---|
| `hermes` | `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Qwen, Hermes, and where no form is known |
| `kimi_k2` | `<|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{...}<|tool_call_end|>` |
| `llama3_json` | the whole turn is `{"name": ..., "parameters": {...}}`, several with `;` between |
| `pythonic` | `NAME(1, b=2)`, the names of the task's tools only; for models of a few characters |

The host reads a turn once. Thoughts are cut first, so a call that was only thought of is none. What the model wrote is
hostile: nothing here raises on it, work is linear in its length, and a call that cannot be read becomes a call without
arguments that says why (gyms/episodes/arguments.py), to which the environment answers.

Left out: vLLM's own parsers. They live in the engine's package, whose import takes the driver some ten seconds and a
torch that computes, want a chat request of the server around each text, and drop what they cannot read.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gyms.api import Call, Tool, Turn
from gyms.episodes.arguments import MAX_ARGUMENT_CHARS, read_call
from gyms.response import after_thoughts

__all__ = [
    "FORMATS", "MAX_CALLS", "ToolFormat", "format_of_template", "read_turn", "reads_calls_of", "tools_as_text",
    "written",
]  # fmt: skip

MAX_CALLS = 64
"""Calls of one turn that are read; the next one is answered with a refusal, and what follows it is not looked at."""

Found = tuple[str, str | Mapping[str, Any]]
"""A call as written: the tool's name and the arguments, as JSON text or as plain data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """How one family of models calls tools."""

    split: Callable[[str, Sequence[Tool]], Iterator[str | Found]]
    """The text in pieces, in order: what is said, and calls. A broken call has the name ""; its text stands in place
    of the arguments."""
    write: Callable[[Sequence[Call], Sequence[Tool]], str]
    """Calls as this family writes them; each call has arguments."""
    uses_special_tokens: bool = False
    """Whether calls are marked by special tokens, which a text without them would hide."""


def read_turn(text: str, tools: Sequence[Tool], *, tool_format: str, number: int, is_truncated: bool = False) -> Turn:
    """What the model did at turn `number` (from 0) of an episode.

    Args:
        text: the response, special tokens included where the format is written in them, without its end token.
        tools: of the task; without any, nothing is a call.
        tool_format: name in FORMATS.

    Example:
        read_turn("add(17, 25)", [adder], tool_format="pythonic", number=0).calls[0].arguments == {"a": 17, "b": 25}
    """
    answer = after_thoughts(text)
    if answer is None or not tools:
        return Turn(text=answer or "", is_truncated=is_truncated)
    said: list[str] = []
    calls: list[Call] = []
    for piece in FORMATS[tool_format].split(answer, tools):
        if isinstance(piece, str):
            said.append(piece)
            continue
        call_id, (name, arguments) = f"call_{number}_{len(calls)}", piece
        if len(calls) == MAX_CALLS:
            calls.append(_broken(call_id, name, f"a turn has at most {MAX_CALLS} calls; the rest was not read"))
            break
        if name:
            calls.append(read_call(tools, call_id=call_id, tool=name, arguments=arguments))
        else:
            calls.append(_broken(call_id, "", f"the call cannot be read; {_hint(tool_format, tools)}"))
    return Turn(text="".join(said).strip(), calls=tuple(calls), is_truncated=is_truncated)


def written(turn: Turn, tools: Sequence[Tool], *, tool_format: str) -> str:
    """A turn as the model would have written it: worked answers become training data."""
    calls = FORMATS[tool_format].write(turn.calls, tools) if turn.calls else ""
    return f"{turn.text}\n{calls}" if turn.text and calls else turn.text or calls


def tools_as_text(tools: Sequence[Tool], *, tool_format: str) -> str:
    """The system message that tells a model of its tools, where its chat template does not."""
    listed = "\n".join(
        json.dumps({"name": t.name, "description": t.description, "parameters": t.parameters}, ensure_ascii=False)
        for t in tools
    )
    return (
        f"You may call these tools, one JSON description a line:\n{listed}\n\n{_hint(tool_format, tools)} The result "
        "comes in the next message. When you know the answer, say it without a call."
    )


def format_of_template(template: str | None) -> str:
    """The format whose marks a chat template has; `hermes` where it has none of them, `pythonic` without a template."""
    if not template:
        return "pythonic"
    for mark, name in (
        ("<|tool_call_begin|>", "kimi_k2"),
        ("<tool_call>", "hermes"),
        ("<|python_tag|>", "llama3_json"),
    ):
        if mark in template:
            return name
    return "llama3_json" if '"parameters": ' in template and "ipython" in template else "hermes"


def reads_calls_of(template: Callable[..., str], tool_format: str) -> bool:
    """Whether a format reads a call as a chat template writes it; True where the template writes none.

    Marks alone do not tell: `<tool_call>` stands around JSON in Qwen 3, and around tags of their own in Qwen 3 Coder
    and GLM.

    Args:
        template: renders messages and tools, with the opening of the next turn behind them unless `opens` is False.
    """
    tool = Tool(name=_PROBE, description="", parameters={"type": "object", "properties": {}})
    asked = {"role": "user", "content": "1"}
    for arguments in ({}, "{}"):  # some templates take a table, some the text of one
        call = {"id": _PROBE, "type": "function", "function": {"name": _PROBE, "arguments": arguments}}
        try:
            opened, before = template([asked], [tool]), template([asked], [tool], opens=False)
            whole = template([asked, {"role": "assistant", "content": "", "tool_calls": [call]}], [tool], opens=False)
        except Exception:  # the template is the model's code, and may raise anything
            continue
        said = whole.removeprefix(opened if whole.startswith(opened) else before)
        pieces = FORMATS[tool_format].split(said, [tool])
        return _PROBE not in said or any(piece[0] == _PROBE for piece in pieces if not isinstance(piece, str))
    return True


_PROBE = "k2rlprobe"
"""Name and id of a call: an id of nine letters and digits is one that Mistral's templates take."""

# -- the formats ------------------------------------------------------------------------------------------------------

_HERMES = re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.S)
_KIMI = re.compile(r"<\|tool_call_begin\|>(.*?)(?:<\|tool_call_end\|>|(?=<\|tool_call_begin\|>)|\Z)", re.S)
_KIMI_NAME = re.compile(r"(?:functions\.)?([^:]*)(?::\d*)?")
_KIMI_MARKS = re.compile(r"<\|tool_calls?_\w+\|>")


def _split_hermes(text: str, tools: Sequence[Tool]) -> Iterator[str | Found]:
    place = 0
    for match in _HERMES.finditer(text):
        yield text[place : match.start()]
        yield _named(_json(match[1]), "arguments") or ("", match[1])
        place = match.end()
    yield text[place:]


def _write_hermes(calls: Sequence[Call], tools: Sequence[Tool]) -> str:
    return "\n".join(
        f"<tool_call>\n{json.dumps({'name': c.tool, 'arguments': c.arguments}, ensure_ascii=False)}\n</tool_call>"
        for c in calls
    )


def _split_kimi(text: str, tools: Sequence[Tool]) -> Iterator[str | Found]:
    place = 0
    for match in _KIMI.finditer(text):
        yield _KIMI_MARKS.sub("", text[place : match.start()])
        head, mark, arguments = match[1].partition("<|tool_call_argument_begin|>")
        named = _KIMI_NAME.fullmatch(head.strip())
        yield (named[1], arguments) if mark and named else ("", match[1])
        place = match.end()
    yield _KIMI_MARKS.sub("", text[place:])


def _write_kimi(calls: Sequence[Call], tools: Sequence[Tool]) -> str:
    inner = "".join(
        f"<|tool_call_begin|>functions.{c.tool}:{i}<|tool_call_argument_begin|>"
        f"{json.dumps(c.arguments, ensure_ascii=False)}<|tool_call_end|>"
        for i, c in enumerate(calls)
    )
    return f"<|tool_calls_section_begin|>{inner}<|tool_calls_section_end|>"


def _split_llama(text: str, tools: Sequence[Tool]) -> Iterator[str | Found]:
    rest = text.strip().removeprefix("<|python_tag|>").lstrip()
    if not rest.startswith("{"):
        yield text
        return
    decoder = json.JSONDecoder()
    while rest:
        try:
            given, end = decoder.raw_decode(rest[:MAX_ARGUMENT_CHARS])
        except (ValueError, RecursionError):
            yield "", rest
            return
        yield _named(given, "parameters") or ("", rest[:end])
        rest = rest[end:].lstrip("; \n")


def _write_llama(calls: Sequence[Call], tools: Sequence[Tool]) -> str:
    return "; ".join(json.dumps({"name": c.tool, "parameters": c.arguments}, ensure_ascii=False) for c in calls)


_INSIDE = r"""((?:[^()"'\n]|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'){0,4096})"""


def _split_pythonic(text: str, tools: Sequence[Tool]) -> Iterator[str | Found]:
    names = "|".join(re.escape(tool.name) for tool in sorted(tools, key=lambda tool: -len(tool.name)))
    place = 0
    for match in re.finditer(rf"(?<![\w.])({names})\({_INSIDE}\)?", text):
        yield text[place : match.start()]
        called = next(tool for tool in tools if tool.name == match[1])
        arguments = _python_arguments(match[2], called) if match[0].endswith(")") else None
        yield ("", match[0]) if arguments is None else (match[1], arguments)
        place = match.end()
    yield text[place:]


def _python_arguments(source: str, tool: Tool) -> Mapping[str, Any] | None:
    """`17, b=25` by the tool's parameters in their order; None where it is not that."""
    try:
        with warnings.catch_warnings(action="ignore"):
            call = ast.parse(f"f({source})", mode="eval").body
            if not isinstance(call, ast.Call):  # a bracket closed early
                return None
            given = {
                name: ast.literal_eval(value)
                for name, value in zip(tool.parameters.get("properties", {}), call.args, strict=False)
            }
            named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    if None in named or given.keys() & named.keys() or len(given) < len(call.args):
        return None
    return {**given, **named}  # type: ignore[dict-item]


def _write_pythonic(calls: Sequence[Call], tools: Sequence[Tool]) -> str:
    return "\n".join(f"{c.tool}({_python_source(c, tools)})" for c in calls)


def _python_source(call: Call, tools: Sequence[Tool]) -> str:
    """Arguments in the order of the parameters, by place as long as none is left out."""
    called = next(tool for tool in tools if tool.name == call.tool)
    given = dict(call.arguments or {})
    parts = []
    for name in called.parameters.get("properties", {}):
        if name not in given:
            break
        parts.append(repr(given.pop(name)))
    return ",".join([*parts, *(f"{name}={value!r}" for name, value in given.items())])


def _json(text: str) -> Any:
    """What a JSON text says; None where it is none, or longer than is read."""
    try:
        return json.loads(text) if len(text) <= MAX_ARGUMENT_CHARS else None
    except (ValueError, RecursionError):
        return None


def _named(given: Any, key: str) -> Found | None:
    """A call as a JSON object: its name, and its arguments as text or as an object."""
    if not isinstance(given, dict) or not isinstance(name := given.get("name"), str) or not _is_text(name):
        return None
    arguments = given.get(key, {})
    return (name, arguments) if isinstance(arguments, str | dict) else None


def _is_text(name: str) -> bool:
    """Not empty, and no half of a surrogate pair, which JSON can spell and no file can hold."""
    return bool(name) and not any("\ud800" <= character <= "\udfff" for character in name)


def _broken(call_id: str, tool: str, problem: str) -> Call:
    return Call(id=call_id, tool=tool, arguments=None, problem=problem)


def _hint(tool_format: str, tools: Sequence[Tool]) -> str:
    """How a call is to be written."""
    example = Call(id="", tool=tools[0].name, arguments=dict.fromkeys(tools[0].parameters.get("properties", {}), "..."))
    return f"A call is written like this: {FORMATS[tool_format].write([example], tools)}"


FORMATS: Mapping[str, ToolFormat] = {
    "hermes": ToolFormat(split=_split_hermes, write=_write_hermes),
    "kimi_k2": ToolFormat(split=_split_kimi, write=_write_kimi, uses_special_tokens=True),
    "llama3_json": ToolFormat(split=_split_llama, write=_write_llama, uses_special_tokens=True),
    "pythonic": ToolFormat(split=_split_pythonic, write=_write_pythonic),
}
