"""`look FILE`: what a file of rows holds, and which gym reads it, with the settings that make it do so.

Each gym that reads rows (gyms/row_gym.py) is tried as a run would try it: the form is told by the columns, and tasks
are made of the rows. Where that gives none, it is tried with each published form that the columns fit, then with the
columns that are named most like those it wants. What is proposed was therefore seen to work on these rows, and a row
"fits" where a task was made of it: whether its answer is right is for `validate` to say.

Left out: mixtures of forms in one file, of which the first that fits is taken, as in a run.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gyms.cli.show import Block, Grid
from gyms.columns import Reads, fitting_forms, form_of, mapped_rows, nearest_columns, paths_of
from gyms.load import gym_names, load_gym, resolve
from gyms.row_formats.form import at
from gyms.row_gym import RowGym
from gyms.rows import MAX_TOLD, Located, read_file

__all__ = ["look", "show_look"]

NUM_SHOWN_ROWS = 2
MAX_SHOWN_COLUMNS = 60
MAX_SHOWN_CHARS = 60
MAX_REASON_CHARS = 300
HELDOUT_SHARE = 0.1
"""What the proposed settings hold out of a single file."""
CONVERSATIONS = Reads(kind="conversations", wanted=("messages",), own=(("messages",),))
"""What `ptx.source` reads."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What became of a file's rows in one gym, with some settings."""

    settings: Mapping[str, Any]
    num_fit: int
    read_as: str
    """Name of the form: `own`, a published one, or `columns`; empty where none was found."""
    reasons: tuple[str, ...]
    """Why rows did not fit: the first few, each with its place."""


def look(options: argparse.Namespace) -> dict[str, Any]:
    """What a file of rows holds, and which gym reads it: how many rows fit, what is missing, settings to paste.

    JSON lines, a JSON array, Parquet, CSV; packed or not.
    """
    if options.max_rows < 1:
        raise ValueError(f"--max-rows = {options.max_rows}: must be at least 1")
    classes = _row_gyms(options.gym)
    found = list(islice(read_file(Path(options.file)), options.max_rows + 1))
    rows = found[: options.max_rows]
    if not rows:
        raise ValueError(f"{options.file} holds no rows")
    good = [row for _, row in rows if not isinstance(row, ValueError)]
    broken = [str(row) for _, row in rows if isinstance(row, ValueError)]
    gyms = [_tried(name, gym_class, rows, file=options.file) for name, gym_class in classes.items()]
    return {
        "is_well": any(gym["num_fit"] for gym in gyms),
        "file": options.file,
        "num_rows": len(rows),
        "has_more": len(found) > len(rows),
        "num_broken": len(broken),
        "broken": [reason[:MAX_REASON_CHARS] for reason in broken[:MAX_TOLD]],
        "columns": _columns(good),
        "gyms": sorted(gyms, key=lambda gym: (*_how_good(gym), classes[gym["gym"]].needs.judge, -gym["num_fit"])),
        "conversations": _form_of_first(good, CONVERSATIONS),
    }


def show_look(facts: Mapping[str, Any]) -> Iterator[Block]:
    """The columns with the first rows, the gyms that read them, and what to paste."""
    more = " (there are more: --max-rows)" if facts["has_more"] else ""
    broken = f"; {facts['num_broken']} broken: {'; '.join(facts['broken'])}" if facts["num_broken"] else ""
    yield f"{facts['file']}: rows looked at: {facts['num_rows']}{more}{broken}"
    columns = facts["columns"]
    names = [f"row {number + 1}" for number in range(max((len(c["examples"]) for c in columns), default=0))]
    yield Grid(
        title="Columns",
        columns=("column", "filled", "holds", *names),
        rows=[
            [c["column"], str(c["num_filled"]), c["holds"], *c["examples"], *[""] * (len(names) - len(c["examples"]))]
            for c in columns[:MAX_SHOWN_COLUMNS]
        ],
    )
    if len(columns) > MAX_SHOWN_COLUMNS:
        yield f"and {len(columns) - MAX_SHOWN_COLUMNS} more columns: --json has all"
    yield Grid(
        title="Gyms that read rows",
        columns=("gym", "rows that fit", "read as", "why others do not"),
        rows=[
            [gym["gym"], f"{gym['num_fit']} of {facts['num_rows']}", gym["read_as"] or "none", _why(gym)]
            for gym in facts["gyms"]
        ],
    )
    reading = [gym for gym in facts["gyms"] if gym["num_fit"]]
    for gym in reading:
        yield f'gym = "{gym["gym"]}"\n{gym["toml"]}'
    if reading:
        args = shlex.quote(json.dumps(reading[0]["args"], ensure_ascii=False))
        yield f"next: python -m gyms validate {reading[0]['gym']} --args {args}"
    if facts["conversations"]:
        yield f"It has the columns of curated conversations ({facts['conversations']}): ptx.source.jsonl reads those."
    if not facts["is_well"]:
        yield "No gym reads these rows as they are. docs/rows.md has what each form holds."


def _why(gym: Mapping[str, Any]) -> str:
    if not gym["missing"]:
        return "".join(gym["reasons"][:1])
    near = f"; columns = {_toml(gym['nearest'])} with" if gym["nearest"] else ";"
    return f"nothing is like {' or '.join(gym['missing'])}{near} {', '.join(gym['missing'])} = ... named by hand"


def _how_good(gym: Mapping[str, Any]) -> tuple[bool, bool]:
    """Smaller is better: what reads rows, and of that what knows their form, before what goes by likely names."""
    return not gym["num_fit"], gym["read_as"] == "columns"


def _row_gyms(reference: str) -> dict[str, type[RowGym]]:
    """The built-in gyms that read rows, or the one that was asked for."""
    builtin = [name for name, (entry, *_) in gym_names().items() if entry.value.startswith("gyms.")]
    found = {name: resolve(name, config_key="--gym") for name in ([reference] if reference else builtin)}
    classes = {name: gym_class for name, gym_class in found.items() if issubclass(gym_class, RowGym)}
    if not classes:
        raise ValueError(f"--gym = {reference!r}: it declares no rows that it reads (gyms.row_gym.RowGym)")
    return classes


def _tried(name: str, gym_class: type[RowGym], rows: Sequence[Located], *, file: str) -> dict[str, Any]:
    """What the best of the likely settings makes of the rows."""
    reads = gym_class.reads
    first = next((row for _, row in rows if not isinstance(row, ValueError)), {})
    best = _trial(name, rows, {})
    for settings in _alternatives(first, reads):
        if best.num_fit:
            break
        other = _trial(name, rows, settings)
        best = other if other.num_fit or not best.read_as else best
    args: dict[str, Any] = {}
    if best.num_fit:
        args = {gym_class.file_setting: file, gym_class.share_setting: HELDOUT_SHARE, **best.settings}
        args |= {"skip_malformed": True} if best.num_fit < len(rows) else {}
    guesses = nearest_columns(first, reads)
    return {
        "gym": name,
        "num_fit": best.num_fit,
        "read_as": best.read_as,
        "missing": [] if best.read_as else [column for column in reads.wanted if column not in guesses],
        "nearest": guesses,
        "reasons": list(best.reasons),
        "args": args,
        "toml": f"args = {_toml(args)}" if args else "",
    }


def _alternatives(row: Row, reads: Reads) -> Iterator[dict[str, Any]]:
    """Settings that rows like this one may need, likeliest first."""
    for form in fitting_forms(row, reads):
        yield {"format": form.name}
    guesses = nearest_columns(row, reads)
    if set(guesses) == set(reads.wanted):
        yield {"columns": {name: path for name, path in guesses.items() if name != path}}


def _trial(name: str, rows: Sequence[Located], settings: Mapping[str, Any]) -> Trial:
    gym = load_gym(name, name, {**settings, "skip_malformed": True})
    assert isinstance(gym, RowGym)
    num_fit = 0
    reasons: list[str] = []
    try:
        for where, row in mapped_rows(rows, gym.settings, gym.reads):
            try:
                if isinstance(row, ValueError):
                    raise row
                gym.task_of(row, where)
            except ValueError as error:
                reasons.append(str(error))
            else:
                num_fit += 1
    except ValueError as error:  # the columns of these settings lead nowhere
        reasons.append(str(error))
    good = [row for _, row in rows if not isinstance(row, ValueError)]
    told = tuple(" ".join(reason.split())[:MAX_REASON_CHARS] for reason in reasons[:MAX_TOLD])
    read_as = "columns" if settings.get("columns") else _form_of_first(good, gym.reads, settings.get("format", "auto"))
    return Trial(settings=settings, num_fit=num_fit, read_as=read_as, reasons=told)


def _form_of_first(rows: Sequence[Row], reads: Reads, name: str = "auto") -> str:
    """The form of the first row that has one."""
    for row in rows:
        try:
            form = form_of(row, name, reads, "")
        except ValueError:
            continue
        return "own" if form is None else form.name
    return ""


def _columns(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every path of the rows, as they come: how often it is filled, what it holds, its first values."""
    filled: dict[str, int] = {}
    kinds: dict[str, dict[str, None]] = {}
    for row in rows:
        for path in paths_of(row):
            value = _at(row, path)
            filled[path] = filled.get(path, 0) + (value is not None)
            kinds.setdefault(path, {}).update({} if value is None else {_kind(value): None})
    return [
        {
            "column": path,
            "num_filled": number,
            "holds": " or ".join(kinds[path]) or "nothing",
            "examples": [_short(_at(row, path)) for row in rows[:NUM_SHOWN_ROWS]],
        }
        for path, number in filled.items()
    ]


def _at(row: Row, path: str) -> Any:
    try:
        return at(row, path)
    except KeyError:
        return None


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth value"
    for kinds, name in (
        ((int, float), "number"),
        (str, "text"),
        (bytes, "bytes"),
        (Mapping, "object"),
        (Sequence, "list"),
    ):
        if isinstance(value, kinds):
            return name
    return type(value).__name__


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text[: 4 * MAX_SHOWN_CHARS].split())
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[: MAX_SHOWN_CHARS - 3]}..."


def _toml(value: Any) -> str:
    """A value as TOML in one line; JSON's texts are TOML's too, but for DEL."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_toml(part)}" for name, part in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "a").replace("-", "a").isalnum() else _toml(name)
