"""From a name in a config to a gym: found, checked and built, with one clear error where something is wrong.

A gym is named in one of four ways:

- an entry point of the group `reward_gyms` (`arithmetic`): how installed packages offer gyms (gyms/plugins.py). Two
  packages that offer one name are an error that names both: which one ran must never depend on the order of
  `sys.path`. `package:name` says which one is meant.
- an import path (`my_package.my_gym:MyGym`).
- a file (`gyms/mine.py:MyGym`, or `gyms/mine.py` where it holds a single gym).
- an adapter (`reasoning_gym:chain_sum`, `trl:my_module:my_reward`, `verifiers:my_environment`): something else that
  can be made into a gym.

A plug-in is foreign code, so loading it is one of the two places that catch broadly; whatever it raises becomes a
ValueError that names the gym, the config key and the cause. Left out: a registry filled by decorators, because it
needs every plug-in imported before a name can be looked up; and siblings of a gym's file as imports, because a gym of
several files is a package.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from gyms.api import API_VERSION, Gym, GymSettings, Needs, Services
from gyms.confinement.contain import contained
from gyms.plugins import ENTRY_POINT_GROUP, distribution_of, entry_in, gym_names, is_legal_name

__all__ = [
    "ENTRY_POINT_GROUP",
    "MAX_WALL_SECONDS",
    "GymSpec",
    "Keys",
    "SpecError",
    "check_needs",
    "distribution_of",
    "gym_names",
    "load_gym",
    "resolve",
]

MAX_WALL_SECONDS = 3600.0
"""Longest `needs.wall_seconds` that a gym may declare."""
MIN_MEMORY_BYTES = 64 << 20
"""Least `needs.memory_bytes`: below it not even the interpreter starts."""

ADAPTERS: Mapping[str, str] = {
    "reasoning_gym": "gyms.logic.gym:gym_of_dataset",
    "trl": "gyms.adapters.trl:gym_of_function",
    "verifiers": "gyms.adapters.verifiers:gym_of_environment",
}
"""First word of a reference -> function that makes a gym class of the rest; imported on first use."""


class SpecError(ValueError):
    """There is no such gym, or it refuses its settings: the fault of whoever asked for it, not of the gym's code."""


class Keys(NamedTuple):
    """Where a gym was asked for, in messages: in a config's table, on a command line, in a call.

    Example:
        Keys(gym="NAME", args="--args")
    """

    gym: str
    """What names the gym."""
    args: str
    """What holds its settings."""

    @classmethod
    def of_entry(cls, entry: str) -> Keys:
        """The keys of an entry of a config, such as `gyms.0`."""
        return cls(gym=f"{entry}.gym", args=f"{entry}.args")


@dataclass(frozen=True, slots=True, kw_only=True)
class GymSpec:
    """What it takes to build a gym again in another process; picklable, holds no gym code.

    Example:
        GymSpec(name="sums", reference="arithmetic", args={"max_operand": 49})
    """

    name: str
    """The gym's name in this run."""
    reference: str
    """Entry-point name, `module:Class` or `file.py:Class`."""
    args: Mapping[str, Any] = field(default_factory=dict)
    """The gym's settings as the config gives them."""
    config_key: str = ""
    """Where the gym was asked for, in messages, e.g. `gyms.0`; empty: `gyms.<name>`."""

    def build(self, services: Services | None = None) -> Gym:
        """The gym, built in this process."""
        return load_gym(self.name, self.reference, self.args, services, self.config_key or None)


def load_gym(
    name: str,
    reference: str,
    args: Mapping[str, Any],
    services: Services | None = None,
    config_key: str | Keys | None = None,
) -> Gym:
    """The gym called `name`, built from its settings; ValueError with the config key where that is not possible.

    It is a SpecError where there is no such gym or its settings are refused. `config_key` is the key of the gym's
    entry, e.g. `gyms.0`, or the keys themselves where it has no entry; its default is `gyms.<name>`.
    """
    keys = config_key if isinstance(config_key, Keys) else Keys.of_entry(config_key or f"gyms.{name}")
    gym_class = resolve(reference, config_key=keys.gym)
    if gym_class.api_version != API_VERSION:
        raise ValueError(
            f"{keys.gym}: gym {name!r} ({reference}) was written for version {gym_class.api_version!r} of the gym "
            f"contract, this pipeline speaks version {API_VERSION}; install a matching version of one of the two"
        )
    try:
        check_needs(gym_class.needs)
    except ValueError as error:
        raise ValueError(f"{keys.gym}: gym {name!r} ({reference}) declares {error}") from None
    failure = f"{keys.args}: gym {name!r} ({reference}) cannot be built from its settings"
    settings = _validated_settings(gym_class, args, failure, config_key=keys.args)
    with _plugin_call(failure, is_refusal=lambda error: bool(args) and isinstance(error, ValueError)):
        return gym_class(settings, services or Services())


def check_needs(needs: Needs) -> None:
    """ValueError where a gym declares needs that no worker can be given."""
    if not isinstance(needs, Needs):
        raise ValueError(f"needs = {needs!r}, expected gyms.api.Needs(...)")
    if not _is_number(needs.wall_seconds) or not 0.0 < needs.wall_seconds <= MAX_WALL_SECONDS:
        raise ValueError(
            f"needs.wall_seconds = {needs.wall_seconds!r}, expected above 0 and at most {MAX_WALL_SECONDS:g}"
        )
    cpu = needs.cpu_seconds
    if cpu is not None and not (_is_number(cpu) and cpu > 0.0 and math.isfinite(cpu)):
        raise ValueError(f"needs.cpu_seconds = {needs.cpu_seconds!r}, expected None or a finite number above 0")
    if not isinstance(needs.writes, tuple) or not all(
        isinstance(path, str) and path.startswith(("/", "~")) for path in needs.writes
    ):
        raise ValueError(f"needs.writes = {needs.writes!r}, expected a tuple of absolute paths, or paths below ~")
    if not isinstance(needs.memory_bytes, int) or needs.memory_bytes < MIN_MEMORY_BYTES:
        raise ValueError(
            f"needs.memory_bytes = {needs.memory_bytes!r}, expected a whole number from {MIN_MEMORY_BYTES}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def resolve(reference: str, *, config_key: str = "gym") -> type[Gym]:
    """The gym class behind an entry-point name, an import path, a file path or an adapter's reference."""
    if not isinstance(reference, str) or not reference.strip():
        raise SpecError(f"{config_key} = {reference!r}: expected the name of a gym")
    module_part, _, class_name = reference.partition(":")
    if module_part in ADAPTERS:
        with _plugin_call(f"{config_key} = {reference!r}", is_refusal=lambda error: isinstance(error, ValueError)):
            maker_module, _, maker = ADAPTERS[module_part].partition(":")
            make: Callable[[str], type[Gym]] = getattr(importlib.import_module(maker_module), maker)
            return make(class_name)
    if module_part.endswith(".py"):
        return _from_file(module_part, class_name, config_key)
    if class_name and (entry := entry_in(module_part, class_name)) is not None:
        with _plugin_call(f"{config_key} = {reference!r}: importing {entry.value!r} failed"):
            return _checked_class(entry.load(), entry.value, config_key)
    if class_name:
        failure = f"{config_key} = {reference!r}: importing {module_part!r} failed"
        with _plugin_call(failure, is_refusal=lambda error: _is_missing(module_part, error)):
            module = importlib.import_module(module_part)
        return _class_of(module, class_name, reference, config_key)
    return _from_entry_point(reference, config_key)


def _from_entry_point(name: str, config_key: str) -> type[Gym]:
    names = gym_names()
    if name not in names:
        known = ", ".join(names) or "none (is the project installed? `pip install -e .` registers its gyms)"
        raise SpecError(
            f"{config_key} = {name!r}: there is no gym of that name{_did_you_mean(name, names)}. "
            f"Installed gyms: {known}. A gym can also be given as module:Class or path/to/file.py:Class"
        )
    entry_point, *others = names[name]
    if others:
        offers = " and ".join(f"{distribution_of(e)} ({e.value})" for e in names[name])
        raise ValueError(
            f"{config_key} = {name!r}: {len(names[name])} installed packages offer a gym of that name: {offers}. "
            f"Uninstall one, or name the one you mean by its package, e.g. "
            f"{config_key} = '{entry_point.dist.name if entry_point.dist else 'package'}:{name}', or by its import "
            f"path, e.g. {config_key} = {entry_point.value!r}"
        )
    if not is_legal_name(name):
        raise ValueError(
            f"{config_key} = {name!r}: {distribution_of(entry_point)} offers a gym of this name, but a name has lower "
            f"case letters, digits, '_', '-' and '.'; rename it in that package, or use its import path "
            f"{entry_point.value!r}"
        )
    with _plugin_call(
        f"{config_key} = {name!r}: importing {entry_point.value!r} of {distribution_of(entry_point)} failed"
    ):
        found = entry_point.load()
    return _checked_class(found, entry_point.value, config_key)


def _from_file(file: str, class_name: str, config_key: str) -> type[Gym]:
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise SpecError(f"{config_key}: there is no file {file!r} (looked for {path}); give a path to a Python file")
    module = _module_of(path, f"{config_key}: importing {file!r} failed")
    if class_name:
        return _class_of(module, class_name, f"{file}:{class_name}", config_key)
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Gym) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        found = ", ".join(value.__name__ for value in own) or "none"
        raise SpecError(f"{config_key} = {file!r}: expected one Gym in the file, found {found}; write {file}:Class")
    return own[0]


def _module_of(path: Path, failure: str) -> ModuleType:
    """The file as a module, executed once per process; named after its path so that its classes can be pickled."""
    name = f"_gym_file_{hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py path always has the source loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _plugin_call(failure):
            spec.loader.exec_module(module)
    except ValueError:
        del sys.modules[name]
        raise
    return module


def _class_of(module: ModuleType, class_name: str, reference: str, config_key: str) -> type[Gym]:
    if not hasattr(module, class_name):
        gyms = [name for name, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Gym)]
        raise SpecError(
            f"{config_key} = {reference!r}: the module has no {class_name!r}{_did_you_mean(class_name, gyms)}"
        )
    return _checked_class(getattr(module, class_name), reference, config_key)


def _checked_class(found: object, reference: str, config_key: str) -> type[Gym]:
    if not (inspect.isclass(found) and issubclass(found, Gym)):
        raise SpecError(f"{config_key}: {reference!r} is {found!r}, expected a subclass of gyms.api.Gym")
    return found


def _validated_settings(gym_class: type[Gym], args: Mapping[str, Any], failure: str, *, config_key: str) -> GymSettings:
    model = gym_class.Settings
    if not (inspect.isclass(model) and issubclass(model, GymSettings)):
        raise ValueError(f"{failure}: it declares Settings = {model!r:.100}, expected a subclass of GymSettings")
    with _plugin_call(failure):
        try:
            return model.model_validate(dict(args))
        except ValidationError as error:
            problems = "; ".join(_problem(model, problem, config_key) for problem in error.errors())
    raise SpecError(problems)


def _problem(model: type[BaseModel], problem: Mapping[str, Any], config_key: str) -> str:
    """One finding of pydantic, with the full key and, for an unknown key, the nearest valid one."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join([config_key, *location])
    if problem["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        listing = ", ".join(known) or "none"
        return f"{key}: unknown setting{_did_you_mean(location[-1], known)}. Known settings: {listing}"
    text = str(problem["msg"]).removeprefix("Value error, ")
    given = "" if problem["type"] in ("missing", "value_error") else f", got {problem['input']!r}"
    return f"{key}: {text}{given}"


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (inspect.isclass(annotation) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _did_you_mean(given: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(given, list(known), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(repr(name) for name in nearest)}?)" if nearest else ""


def _is_missing(module: str, error: BaseException) -> bool:
    """Whether an import failed because there is no such module, and not because of what stands in it."""
    is_missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
    return is_missing or not module.strip(".")


@contextmanager
def _plugin_call(failure: str, *, is_refusal: Callable[[BaseException], bool] = lambda _: False) -> Iterator[None]:
    """Around one call into a plug-in: whatever it raises, sys.exit included, becomes a ValueError with the cause.

    Where `is_refusal` holds of it, a SpecError. What it does to the process on the side (folder, signal handlers,
    logging) is undone.
    """
    try:
        with contained(failure):
            yield
    except (Exception, SystemExit) as error:
        cause = str(error) if type(error) in (ValueError, SpecError) else f"{type(error).__name__}: {error}"
        kind = SpecError if isinstance(error, SpecError) or is_refusal(error) else ValueError
        raise kind(f"{failure}: {cause}") from error
