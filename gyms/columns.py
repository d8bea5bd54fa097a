"""From a row as it was published to the row that a gym reads: columns named by paths, formats told by their columns.

    columns = { question = "prompt.-1.content", answer = "reward_model.ground_truth" }

A path goes into objects by key and into lists by place, from the end where it is negative; text that holds JSON is
gone into as well. gyms/row_formats has the published formats; `format = "auto"` takes the one whose columns the row
has, if it is exactly one. A row that already has what the gym reads is taken as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from gyms.api import GymSettings
from gyms.row_formats import FORMATS
from gyms.row_formats.form import Kind, RowFormat, at, read_json
from gyms.rows import Located

__all__ = ["Reads", "RowSettings", "fitting_forms", "form_of", "mapped_rows", "nearest_columns", "paths_of"]

AUTO, OWN = "auto", "own"
_ALIKE: Mapping[str, tuple[str, ...]] = {
    "question": ("problem", "prompt", "query", "instruction", "input", "messages", "text"),
    "answer": ("ground_truth", "final_answer", "expected_answer", "label", "target", "gold", "solution", "output"),
    "prompt": ("question", "problem", "messages", "instruction", "text", "query", "input", "problem_description"),
    "tests": ("test_cases", "test_list", "test", "test_code", "input_output", "public_test_cases", "asserts"),
    "messages": ("conversations", "conversation", "chat", "dialog", "prompt"),
    "instruction_id_list": ("instruction_ids", "constraints", "instructions"),
    "kwargs": ("arguments", "args", "parameters"),
}
"""Names that data sets give to what a gym reads, likeliest first; for the mapping that a message proposes."""


class RowSettings(GymSettings):
    """Settings of a gym that reads rows."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    columns: dict[str, str] = Field(default_factory=dict)
    """Where the rows hold what this gym reads, e.g. `{ question = "prompt.-1.content" }`; dots go into objects and
    lists, -1 is the last. Wins over `format`."""
    format: str = AUTO
    """Published form of the rows (docs/rows.md lists them). `auto`: told by the columns; `own`: this gym's own."""
    skip_malformed: bool = False
    """True: leave out malformed rows, count them and tell the first three. False: refuse the data."""

    @field_validator("format")
    @classmethod
    def _is_known(cls, name: str) -> str:
        known = [AUTO, OWN, *FORMATS]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"there is no format {name!r}{hint}; expected one of {', '.join(known)}")
        return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """What somebody reads of a row: a fact that is known before any row is.

    Example:
        Reads(kind="chat", wanted=("prompt",), own=(("prompt",),))
    """

    kind: Kind
    """Which of the published formats come into question: a `RowFormat.kind`."""
    wanted: tuple[str, ...]
    """What cannot be done without."""
    own: tuple[tuple[str, ...], ...]
    """Sets of columns of which a row of the reader's own form has all of one."""
    optional: tuple[str, ...] = ()
    """What is read besides."""


def mapped_rows(rows: Iterable[Located], settings: RowSettings, reads: Reads) -> Iterator[Located]:
    """Each row as its reader wants it, or why it is malformed.

    The form is settled by the first row, and its error names the columns that there are; where malformed rows are
    skipped, by the first row that has a form. A later row that does not fit is that row's fault alone.
    """
    form: RowFormat | None = None
    is_first = True
    for where, row in rows:
        if isinstance(row, ValueError):
            yield where, row
            continue
        if is_first and not settings.columns:
            try:
                form = form_of(row, settings.format, reads, where)
            except ValueError as error:
                if not settings.skip_malformed:
                    raise
                yield where, error
                continue
        try:
            yield where, _mapped(row, settings.columns, form, where, reads, is_first=is_first)
        except ValueError as error:
            if is_first and settings.columns:
                raise
            yield where, error
        is_first = False


def fitting_forms(row: Mapping[str, Any], reads: Reads) -> list[RowFormat]:
    """The published forms that a row has the columns of."""
    return [form for form in FORMATS.values() if form.kind == reads.kind and form.fits(row)]


def nearest_columns(row: Mapping[str, Any], reads: Reads) -> dict[str, str]:
    """Wanted column -> the path that is likeliest to be meant by it; those that nothing is like are left out."""
    paths = [path for path, value in _inside(row) if value is not None]
    return {name: guess for name in reads.wanted if (guess := _nearest(name, paths))}


def paths_of(row: Mapping[str, Any]) -> Iterator[str]:
    """Columns, and what lies one level below them; a conversation as the text of its last message."""
    return (path for path, _ in _inside(row))


def _inside(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Paths with what they lead to. No path leads into a column with a dot in its name: it is taken whole."""
    for name, value in row.items():
        inside = read_json(value) if isinstance(value, str) else value
        if "." in str(name):
            yield str(name), value
        elif isinstance(inside, Mapping) and inside:
            yield from ([(str(name), value)] if inside is not value else [])
            yield from ((f"{name}.{key}", below) for key, below in inside.items())
        elif isinstance(inside, list) and inside and isinstance(inside[-1], Mapping) and "content" in inside[-1]:
            yield f"{name}.-1.content", inside[-1]["content"]
        else:
            yield str(name), value


def form_of(row: Mapping[str, Any], name: str, reads: Reads, where: str) -> RowFormat | None:
    """The form of rows like this one, `name` being that of a setting; None: the reader's own.

    Raises:
        ValueError: they are of no form, or of several.
    """
    if name == OWN:
        return None
    if name != AUTO:
        form = FORMATS[name]
        if form.kind != reads.kind:
            fit = ", ".join(n for n, f in FORMATS.items() if f.kind == reads.kind)
            raise ValueError(f"format = {name!r} is for {form.kind} rows; this gym reads {reads.kind} rows: {fit}")
        return form
    fitting = fitting_forms(row, reads)
    if len(fitting) == 1:
        return fitting[0]
    if any(all(row.get(column) is not None for column in columns) for columns in reads.own):
        return None
    if fitting:
        names = " or ".join(repr(form.name) for form in fitting)
        raise ValueError(f"{where}: the columns {_named(row)} fit several published formats; set format = {names}")
    raise ValueError(_lost(row, reads, where))


def _mapped(
    row: Mapping[str, Any],
    columns: Mapping[str, str],
    form: RowFormat | None,
    where: str,
    reads: Reads,
    *,
    is_first: bool,
) -> Mapping[str, Any]:
    if columns:
        found = {name: value for name, value in row.items() if name in (*reads.wanted, *reads.optional)}
        for name, path in columns.items():
            try:
                found[name] = at(row, path)
            except KeyError:
                told = f"; the columns are {_named(row)}" if is_first else ""
                raise ValueError(f"{where}: columns.{name} = {path!r} leads nowhere{told}") from None
        return found
    if form is None:
        return row
    try:
        return form.convert(row)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: not a row of the format {form.name!r} ({type(error).__name__}: {error})") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _lost(row: Mapping[str, Any], reads: Reads, where: str) -> str:
    """What is said of a row that fits nothing: what there is, what was wanted, the likeliest mapping."""
    guesses = nearest_columns(row, reads)
    listed = ", ".join(f'{name} = "{path}"' for name, path in guesses.items())
    hint = f"; perhaps columns = {{ {listed} }}" if guesses else "; name them with columns = { ... }"
    return f"{where}: the columns are {_named(row)}, wanted were {', '.join(reads.wanted)}{hint}"


def _nearest(name: str, paths: Sequence[str]) -> str:
    if name in paths:
        return name
    for alike in (name, *_ALIKE.get(name, ())):
        for path in paths:
            if path.rpartition(".")[2] == alike or (path.split(".")[0] == alike and path.endswith(".-1.content")):
                return path
    if name in ("question", "prompt") and (said := [path for path in paths if path.endswith(".-1.content")]):
        return said[0]
    ends = {path.rpartition(".")[2].lower(): path for path in reversed(paths)}
    near = difflib.get_close_matches(name, list(ends), n=1, cutoff=0.7)
    return ends[near[0]] if near else ""


def _named(row: Mapping[str, Any]) -> str:
    names = sorted(map(str, row))
    return "[" + ", ".join(names[:20]) + (", ...]" if len(names) > 20 else "]")
