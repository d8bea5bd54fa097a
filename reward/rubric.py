"""Rubrics: what a judge judges by, as data in TOML. Versioned, validated when read, put together for each prompt.

A pack is one file with a name, a version and criteria. Three kinds, after Kimi K2 (section 3.2.2, appendix F): `core`
(what a good answer is), `prescriptive` (what it must not do, mandatory: these close the holes that a policy finds in
its judge) and `human` (written for one prompt, or one family of prompts). A rubric is packs joined by `+`
(`core+prescriptive`), and the criteria that a task carries.

A criterion is an aim or a pitfall. Pitfalls alone are no rubric: an empty answer avoids them all, so it would win.
Everything that a person can get wrong in a file is refused with file and key: weights that are no positive numbers,
doubled ids, doubled texts, criteria or rubrics too long for a judge to hold in mind, unknown keys.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gyms.api import Task
from gyms.chat.checks import CHECKS
from gyms.critic.prompt import CriterionLine

__all__ = [
    "ENTRY_POINT_GROUP",
    "Criterion",
    "Rubric",
    "RubricPack",
    "join",
    "load_rubric",
    "rubric_for",
    "rubric_names",
]

ENTRY_POINT_GROUP = "reward_rubrics"
"""Entry-point group of rubric packs: the value is a package that holds `<name>.toml`."""
DEFAULT_RUBRIC = "core+prescriptive"
"""The rubric of a task that names none."""
MAX_CRITERIA = 20
"""Most criteria of a rubric: beyond that judges skip some."""
MAX_RUBRIC_CHARS = 8000
"""Longest rubric, all texts together."""
RESERVED_IDS = frozenset({"winner", "reason", "tie"})

_Model = TypeVar("_Model", bound=BaseModel)
_BUILTIN = Path(__file__).parent / "rubrics"


class Criterion(BaseModel):
    """One line of a rubric."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    """Name within the rubric and in verdicts: lower case letters, digits, `_`."""
    text: Annotated[str, Field(min_length=3, max_length=800)]
    """What is wanted, or for a pitfall what is to be avoided; at most 800 characters."""
    weight: Annotated[float, Field(gt=0.0, le=100.0, allow_inf_nan=False)] = 1.0
    """How much a comparison by it counts, relative to the other weights. Not used where `mandatory`."""
    mandatory: bool = False
    """True: an answer that breaks it loses against one that does not."""
    polarity: Literal["aim", "pitfall"] = "aim"
    """`aim`: wanted. `pitfall`: to be avoided."""
    check: str = ""
    """Name of a function of gyms/chat/checks.py that decides the criterion by code; the judge is then not asked."""

    @model_validator(mode="after")
    def _is_sensible(self) -> Criterion:
        if self.id in RESERVED_IDS:
            raise ValueError(f"id = {self.id!r} is reserved; take another name")
        if not self.text.strip():
            raise ValueError("text is blank")
        if self.check and self.check not in CHECKS:
            raise ValueError(f"check = {self.check!r} is none of {', '.join(sorted(CHECKS))}")
        return self

    @property
    def line(self) -> CriterionLine:
        """As a judge sees it."""
        text = self.text.strip()
        avoided = self.polarity == "pitfall"
        return CriterionLine(
            id=self.id, text=f"To be avoided: {text}" if avoided else text, is_mandatory=self.mandatory
        )


class RubricPack(BaseModel):
    """One TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    """Name of the pack, which is also its file's name."""
    version: Annotated[int, Field(ge=1)]
    """Raised with every change of its criteria; part of every stored verdict's key."""
    kind: Literal["core", "prescriptive", "human"]
    """`core`: what a good answer is. `prescriptive`: what it must not do. `human`: written for certain prompts."""
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1, max_length=MAX_CRITERIA, strict=False)]
    """The lines."""

    @model_validator(mode="after")
    def _kind_fits(self) -> RubricPack:
        if self.kind == "prescriptive":
            lax = [criterion.id for criterion in self.criteria if not criterion.mandatory]
            if lax:
                raise ValueError(f"criterion {lax[0]!r} of a prescriptive pack is not mandatory; set mandatory = true")
        else:
            _require_an_aim(self.criteria)
        _require_different(self.criteria)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """What one prompt's answers are judged by: packs put together. Build it with `join` or `load_rubric`."""

    label: str
    """Packs with their versions, for people and for keys: `core@1+prescriptive@1`."""
    criteria: tuple[Criterion, ...]
    """All lines, mandatory ones included."""

    @property
    def asked(self) -> tuple[Criterion, ...]:
        """The criteria that a judge decides; the others are decided by code."""
        return tuple(criterion for criterion in self.criteria if not criterion.check)

    @property
    def checked(self) -> tuple[Criterion, ...]:
        """The criteria that code decides."""
        return tuple(criterion for criterion in self.criteria if criterion.check)


def join(packs: Sequence[RubricPack], extra: Sequence[Criterion] = ()) -> Rubric:
    """One rubric of several packs and of a task's own criteria; ValueError where they do not fit together."""
    criteria = (*(criterion for pack in packs for criterion in pack.criteria), *extra)
    _require_different(criteria)
    _require_an_aim(criteria)
    if len(criteria) > MAX_CRITERIA:
        raise ValueError(f"a rubric has at most {MAX_CRITERIA} criteria, got {len(criteria)}; leave some out")
    num_chars = sum(len(criterion.text) for criterion in criteria)
    if num_chars > MAX_RUBRIC_CHARS:
        raise ValueError(f"a rubric has at most {MAX_RUBRIC_CHARS} characters, got {num_chars}; shorten its texts")
    labels = [f"{pack.name}@{pack.version}" for pack in packs] + (["task"] if extra else [])
    return Rubric(label="+".join(labels), criteria=criteria)


def rubric_for(task: Task, default: str = DEFAULT_RUBRIC) -> Rubric:
    """The rubric that a task names in `data["rubric"]`, with its own `data["criteria"]`; ValueError where malformed."""
    reference = task.data.get("rubric") or default
    rows = task.data.get("criteria") or ()
    if not isinstance(reference, str) or not isinstance(rows, Sequence) or isinstance(rows, str):
        raise ValueError(f"task {task.id!r}: data['rubric'] must be a string and data['criteria'] a list of tables")
    extra = [_validated(Criterion, row, f"task {task.id!r}: criteria.{i}") for i, row in enumerate(rows)]
    return load_rubric(reference, extra)


def load_rubric(reference: str, extra: Sequence[Criterion] = ()) -> Rubric:
    """The rubric of packs joined by `+`, each a name or a path of a TOML file.

    Example:
        load_rubric("core+prescriptive").label == "core@1+prescriptive@1"
    """
    parts = [part.strip() for part in reference.split("+")]
    try:
        return join([_load_pack(part) for part in parts], extra)
    except ValueError as error:
        raise ValueError(f"rubric {reference!r}: {error}") from error


def rubric_names() -> dict[str, tuple[str, ...]]:
    """Every pack that can be named, with who offers it; imports nothing. Several offers are a collision."""
    found: dict[str, list[str]] = {path.stem: ["this project"] for path in _BUILTIN.glob("*.toml")}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        found.setdefault(entry.name, []).append(f"{entry.dist.name if entry.dist else '?'} ({entry.value})")
    return {name: tuple(found[name]) for name in sorted(found)}


def parse_pack(text: str, where: str) -> RubricPack:
    """The pack of a TOML file's text; ValueError naming `where` and the key."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where}: not TOML ({error})") from None
    return _validated(RubricPack, data, where)


@lru_cache(maxsize=64)
def _load_pack(name: str) -> RubricPack:
    if name.endswith(".toml"):
        path = Path(name).expanduser()
        if not path.is_file():
            raise ValueError(f"there is no file {name!r} (looked for {path.resolve()})")
        return parse_pack(path.read_text(encoding="utf-8"), name)
    names = rubric_names()
    if name not in names:
        nearest = difflib.get_close_matches(name, list(names), n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise ValueError(f"there is no rubric pack {name!r}{hint}. Known packs: {', '.join(names)}")
    if len(names[name]) > 1:
        raise ValueError(f"several packages offer a rubric pack {name!r}: {' and '.join(names[name])}; name its file")
    builtin = _BUILTIN / f"{name}.toml"
    if builtin.is_file():
        text, where = builtin.read_text(encoding="utf-8"), f"rubrics/{name}.toml"
    else:
        (entry,) = entry_points(group=ENTRY_POINT_GROUP, name=name)
        text, where = _text_of(entry), f"{name}.toml of {entry.value}"
    pack = parse_pack(text, where)
    if pack.name != name:
        raise ValueError(f"{where}: its name is {pack.name!r}, expected {name!r}")
    return pack


def _text_of(entry: EntryPoint) -> str:
    """The file behind an entry point; reading it imports the package that holds it, and nothing before does."""
    try:
        return resources.files(entry.value).joinpath(f"{entry.name}.toml").read_text(encoding="utf-8")
    except (ImportError, OSError, TypeError) as error:
        raise ValueError(f"entry point {entry.name} = {entry.value!r}: {type(error).__name__}: {error}") from error


def _validated(model: type[_Model], data: Any, where: str) -> _Model:
    if not isinstance(data, Mapping):
        raise ValueError(f"{where}: expected a table, got {type(data).__name__}")
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise ValueError("; ".join(_problem(found, where) for found in error.errors())) from None


def _problem(found: Mapping[str, Any], where: str) -> str:
    key = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        known = [*RubricPack.model_fields, *Criterion.model_fields]
        nearest = difflib.get_close_matches(str(found["loc"][-1]), known, n=1)
        return f"{where}: {key}: unknown key" + (f" (did you mean {nearest[0]!r}?)" if nearest else "")
    text = str(found["msg"]).removeprefix("Value error, ")
    given = "" if found["type"] in ("missing", "value_error") else f", got {found['input']!r:.80}"
    return f"{where}: {key + ': ' if key else ''}{text}{given}"


def _require_different(criteria: Sequence[Criterion]) -> None:
    for field in ("id", "text"):
        values = [" ".join(str(getattr(criterion, field)).casefold().split()) for criterion in criteria]
        doubled = sorted({value for value in values if values.count(value) > 1})
        if doubled:
            raise ValueError(f"two criteria have the same {field} {doubled[0]!r:.80}; remove one or rename it")


def _require_an_aim(criteria: Sequence[Criterion]) -> None:
    if all(criterion.polarity == "pitfall" for criterion in criteria):
        raise ValueError("all criteria are pitfalls, which an empty answer avoids; add at least one aim")
