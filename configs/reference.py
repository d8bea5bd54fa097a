"""Writes docs/configuration.md from the schema: `python -m configs.reference > docs/configuration.md`.

The tables come from pydantic's JSON schema of `Config`, so that types, defaults, ranges and docstrings have one source.
`--check docs/configuration.md` exits with 1 where the page is stale; a test runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.load import MAY_CHANGE_ON_RESUME
from configs.schema import Config

__all__ = ["main", "reference"]

HEAD = """\
# Configuration

<!-- Generated: python -m configs.reference > docs/configuration.md -->

A run is described by TOML files and overrides:

```sh
python -m rl.train configs/base.toml configs/mine.toml learner.lr=2e-6 gyms.arithmetic.budget=32
```

**Files** merge from left to right. Tables merge key by key, at every depth; everything else, the `[[gyms]]` list
included, is replaced as a whole by the later file.

**`base = "other.toml"`** in a file names one that it lies over, by a path from its own folder; bases may have bases.
Such a file says only what is different, and is called as itself: where it gives no `name`, that is the file's.
`configs/exp/` is an example, and `k2rl sweep` runs such a folder (docs/sweep.md). What is wrong with a setting is told
with the file it stands in.

**Editors** that know TOML schemas (Taplo; in VS Code, Even Better TOML) complete, explain and check settings in a file
whose first line is `#:schema config.schema.json`, a path from its own folder; `k2rl schema` writes that file.

**Overrides**, `key.path=value`, come after the files and apply in order. A value is read as TOML (`0.7`, `true`,
`[0.9, 0.95]`, `{max_digits = 3}`), and where it is not TOML it is taken as text, so `run_dir=/data/run1` and
`model.path=../model` need no quotes. Text inside lists and tables does: `'quant.ignore=["lm_head"]'`, with the outer
quotes for the shell. A table given to a table is merged into it. A gym is reached by its name or by its position:
`gyms.arithmetic.budget=32`, `gyms.0.budget=32`; where both would fit, the name counts.

**`none`** unsets a setting whose type ends in "or none", in files (`"none"`) and in overrides
(`learner.mismatch.correction=none`).

**Types are strict**: `true` is no number, `"5"` and `5.0` are no integers, and no number may be infinite or nan.
Unknown keys are refused with the nearest valid one. A gym's `args` are checked when the gym is loaded.

**Paths**: a relative `model.path` or `ptx.source.jsonl` is taken from the directory that the command runs in, wherever
the TOML file lies; `~/` at the start is the home folder. Under `ray job submit` that directory is a copy that differs
from job to job, so give absolute paths there.

**`--print`** writes the resolved config, defaults included, as JSON and stops. **`--dry-run`** goes on to the checks
that need the model, the gyms or the cluster in hand, and stops before any work. Every run writes its resolved config to
`config.json` in the run folder.
"""

RESUME = """\
## Resuming

A command whose run folder holds a run resumes it, and must then describe the same run. What differs is refused, each
key with both values, apart from these:

| key | why it may differ |
|---|---|
"""

TABLE = "| key | type | default | range | meaning |\n|---|---|---|---|---|\n"
TYPES = {"integer": "integer", "number": "number", "boolean": "boolean", "string": "text", "object": "table"}


def reference() -> str:
    """The whole page."""
    schema = Config.model_json_schema()
    run = "## The run\n\nSettings outside any table.\n\n"
    sections = "\n".join(_section(schema, schema, heading=run, prefix=""))
    may_change = "".join(f"| `{key}` | {reason} |\n" for key, reason in MAY_CHANGE_ON_RESUME.items())
    return f"{HEAD}\n{sections}\n{RESUME}{may_change}"


def _section(schema: Mapping[str, Any], node: Mapping[str, Any], *, heading: str, prefix: str) -> Iterator[str]:
    """The table of one section's own settings, then those of the sections in it."""
    inner: list[tuple[str, str, Mapping[str, Any]]] = []
    rows = ""
    for name, field in node["properties"].items():
        if ref := field.get("$ref") or (field.get("items") or field.get("anyOf", [{}])[0]).get("$ref"):
            title, path = _listed(prefix + name) if "items" in field else (prefix + name, f"{prefix}{name}.")
            inner.append((title, path, schema["$defs"][ref.rpartition("/")[2]]))
        else:
            rows += _row(prefix + name, field, is_required=name in node.get("required", ()))
    yield heading + TABLE + rows
    for title, path, below in inner:
        yield from _section(schema, below, heading=f"## `{title}`\n\n{below['description']}\n\n", prefix=path)


def _listed(key: str) -> tuple[str, str]:
    """Title and path of a list of tables; gyms are reached by their names, others by their positions."""
    return f"[[{key}]]", f"{key}.{'NAME' if key == 'gyms' else 'N'}."


def _row(key: str, field: Mapping[str, Any], *, is_required: bool) -> str:
    default = "required" if is_required else f"`{_literal(field['default'])}`" if "default" in field else "`{}`"
    cells = (f"`{key}`", _type(field), default, _range(field), field["description"])
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |\n"


def _literal(value: Any) -> str:
    return "none" if value is None else json.dumps(value)


def _type(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(kind) for kind in field["anyOf"])
    if "enum" in field:
        return " or ".join(f"`{_literal(value)}`" for value in field["enum"])
    if "prefixItems" in field:
        return f"list of {len(field['prefixItems'])} {_type(field['prefixItems'][0])}s"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if field["type"] == "null":
        return "none"
    return "path" if field.get("format") == "path" else TYPES[field["type"]]


def _range(field: Mapping[str, Any]) -> str:
    """What the schema says of a number's range; of each number in a list; empty where it says nothing."""
    if inner := field.get("anyOf") or field.get("prefixItems"):
        return ("each " if "prefixItems" in field else "") + _range(inner[0])
    signs = {"minimum": ">= ", "exclusiveMinimum": "> ", "maximum": "<= ", "exclusiveMaximum": "< "}
    bounds = [
        f"{sign}{field[bound]:g}" if isinstance(field[bound], float) else f"{sign}{field[bound]}"
        for bound, sign in signs.items()
        if bound in field
    ]
    if "multipleOf" in field:
        bounds.append(f"a multiple of {field['multipleOf']}")
    return ", ".join(bounds)


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m configs.reference") -> int:
    """Write the page to stdout, or with `--check FILE` compare; the exit status."""
    parser = argparse.ArgumentParser(prog=prog, description="The reference of all settings")
    parser.add_argument("--check", type=Path, metavar="FILE", help="exit with 1 where FILE is stale")
    file: Path | None = parser.parse_args(arguments).check
    if file is None:
        sys.stdout.write(reference())
        return 0
    if file.is_file() and file.read_text(encoding="utf-8") == reference():
        return 0
    print(f"{file} is not what the schema says; run: python -m configs.reference > {file}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
