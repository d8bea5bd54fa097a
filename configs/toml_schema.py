"""The JSON schema of a run's TOML files, so that editors complete, explain and check settings: `k2rl schema`.

It is pydantic's schema of `Config`, as a *file* may be written: nothing is required, since other files or `base` may
give it; what may be unset takes the text "none", TOML having no null; numbers may be whole. It lies in
`configs/config.schema.json`, and the first line of each shipped file, `#:schema config.schema.json`, is how editors
with Taplo (Even Better TOML, in VS Code and others) find it. `--check FILE` exits with 1 where FILE is stale; a test
runs it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.schema import Config

__all__ = ["main", "toml_schema"]

EPILOG = """\
examples:
  k2rl schema                                        to stdout
  k2rl schema --output configs/config.schema.json    into a file
A TOML file names it in its first line, by a path from its own folder: #:schema config.schema.json"""
BASE = {
    "type": "string",
    "description": "A file that this one lies over, by a path from its own folder.",
    "minLength": 1,
}


def toml_schema() -> dict[str, Any]:
    """The schema, as plain data."""
    schema = _as_written(Config.model_json_schema())
    schema["properties"] = {"base": {"title": "Base", **BASE}, **schema["properties"]}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **_in_draft_7(schema)}


def _as_written(node: Any) -> Any:
    """Required settings may be elsewhere, and null is written "none"."""
    if isinstance(node, list):
        return [_as_written(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") == "null":
        return {"const": "none"}
    kept = {key: _as_written(value) for key, value in node.items() if key != "required" or not isinstance(value, list)}
    if "default" in kept and kept["default"] is None:
        kept["default"] = "none"
    return kept


def _in_draft_7(node: Any) -> Any:
    """Taplo reads draft 7: `$defs` and `prefixItems` have other names there, and nothing may stand beside a `$ref`."""
    if isinstance(node, list):
        return [_in_draft_7(item) for item in node]
    if isinstance(node, str):
        return node.replace("#/$defs/", "#/definitions/")
    if not isinstance(node, dict):
        return node
    renamed = {"$defs": "definitions", "prefixItems": "items"}
    made = {renamed.get(key, key): _in_draft_7(value) for key, value in node.items()}
    if "$ref" in made and len(made) > 1:
        made["allOf"] = [{"$ref": made.pop("$ref")}]
    return made


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m configs.toml_schema") -> int:
    """Write the schema to stdout or a file, or with `--check FILE` compare; the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="The JSON schema of a run's TOML files, for editors.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it here")
    parser.add_argument("--check", type=Path, metavar="FILE", help="exit with 1 where FILE is stale")
    options = parser.parse_args(arguments)
    text = json.dumps(toml_schema(), indent=1) + "\n"
    if options.check is not None:
        if options.check.is_file() and options.check.read_text(encoding="utf-8") == text:
            return 0
        print(f"{options.check} is stale; run: {prog} --output {options.check}", file=sys.stderr)
        return 1
    if options.output is not None:
        try:
            options.output.write_text(text, encoding="utf-8")
        except OSError as error:
            print(f"{prog}: --output: {error}", file=sys.stderr)
            return 2
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
