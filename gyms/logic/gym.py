"""Logic puzzles of reasoning-gym: about a hundred generators of questions, behind verifiers that can be trained on.

*Tasks.* `logic` mixes the data sets of its setting in turn; `reasoning_gym:chain_sum` as a gym's reference is one of
them alone. Task i is made from a fixed seed and i, in every process alike. Train and held-out never share a problem:
which of the two a problem belongs to is decided by a hash of its text, and problems are drawn until one fits. The
seed, the parameters and everything else that could give the answer away stay out of the prompt.

*Answers.* The last `<answer>...</answer>` counts, after the thoughts have ended; without tags the last line, or the
whole response where the right answer has several lines. An opened tag that is not closed is no answer. See
gyms/logic/verify.py for what is right.

gyms/logic/datasets.py says which data sets are not asked, with the reason, and which only by name: those that are slow
to generate, and those that pay for a copy.
"""

from __future__ import annotations

import contextlib
import copy
import decimal
import importlib.util
import io
import re
import sys
import types
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NoReturn

from pydantic import ConfigDict, Field, model_validator

from gyms.api import Gym, GymSettings, Needs, Score, Services, Split, Status, Task, message
from gyms.extras import require
from gyms.heldout import is_heldout
from gyms.lazy import LazyTasks
from gyms.logic.datasets import CHANCE, EXCLUDED, LEAKY, SLOW
from gyms.logic.doubtful import doubt_of
from gyms.logic.verify import CHECKS, SHAPES, is_right
from gyms.response import Response, after_thoughts, final_text, plain

__all__ = ["Logic", "LogicSettings", "gym_of_dataset"]

HELDOUT_FRAC = 0.25
"""Fraction of the problems that is held out."""
_MAX_TRIES = 2000
_SIZE = 2_000_000_000
_SIZES: Mapping[str, int] = {"acre": 2000, "gsm_symbolic": 100_000, "list_functions": 100_000}
"""Tasks that a data set is told to have; those that build all of them at once get fewer."""
_STRIDE = 1_000_003
"""From an entry that does not fit to the one that takes its place; more than a split has tasks. A data set of fewer
entries is gone through by the golden ratio: close to an entry begins another task."""
MAX_RESPONSE_CHARS = 200_000
MAX_ANSWER_CHARS = 20_000
_INSTRUCTION = "\n\nGive your final answer between <answer> and </answer>, and nothing else between them."
_OPEN, _CLOSE = re.compile("<answer>", re.IGNORECASE), re.compile("</answer>", re.IGNORECASE)
_ENTRY_KEYS = ("question", "answer", "metadata")


class LogicSettings(GymSettings):
    """Which puzzles are asked."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    datasets: tuple[str, ...] = ()
    """Data sets of reasoning-gym, asked in turn; none: all that are neither excluded nor leaky nor slow."""
    dataset_args: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Data set -> its own configuration, e.g. `{"chain_sum": {"max_terms": 4}}`."""
    seed: int = Field(default=0, ge=0, le=10**6)
    """Seed of the generators; the split does not depend on it."""
    size: int = Field(default=10_000, ge=1, le=1_000_000)
    """Train tasks."""
    heldout_size: int = Field(default=200, ge=1, le=100_000)
    """Held-out tasks."""

    @model_validator(mode="after")
    def _check_names(self) -> LogicSettings:
        for name in (*self.datasets, *self.dataset_args):
            check_name(name)
        for name, args in self.dataset_args.items():
            if {"seed", "size"} & set(args):
                raise ValueError(f"dataset_args.{name}: seed and size are settings of the gym, not of a data set")
        return self


class Logic(Gym):
    """Asks reasoning-gym's puzzles; see the head of this file for tasks and answers."""

    Settings = LogicSettings
    settings: LogicSettings
    needs = Needs(wall_seconds=30.0)
    components: ClassVar[Mapping[str, str]] = {"fraction": "1 where the puzzle is solved, else 0"}
    baseline = 0.2
    default_datasets: ClassVar[tuple[str, ...]] = ()
    """Data sets where the settings name none; empty: the default mixture."""

    def __init__(self, settings: LogicSettings, services: Services) -> None:
        super().__init__(settings, services)
        library()  # slow to import: while the gym is built, not while it scores
        self.datasets = settings.datasets or self.default_datasets or default_mixture()
        """Names of the data sets, in the order in which they are asked."""
        if doubled := [name for place, name in enumerate(self.datasets) if name in self.datasets[:place]]:
            raise ValueError(f"datasets names {doubled[0]!r} twice, whose tasks would come twice; name it once")
        if idle := sorted(set(settings.dataset_args) - set(self.datasets)):
            asked = ", ".join(self.datasets)
            raise ValueError(f"dataset_args.{idle[0]}: {idle[0]} is not asked, so nothing would use it; asked: {asked}")

    def tasks(self, split: Split) -> Sequence[Task]:
        size = self.settings.size if split == "train" else self.settings.heldout_size
        return _Tasks(self.settings, self.datasets, split, size)

    def score(self, task: Task, response: str) -> Score:
        entry = dict(task.data)
        fault = fault_of(entry)
        if fault:
            return Score(status=Status.BAD_TASK, detail=f"task {task.id!r:.100}: {fault}")
        if len(response) > MAX_RESPONSE_CHARS:
            return Score(status=Status.TOO_COMPLEX, detail=f"the response has over {MAX_RESPONSE_CHARS} characters")
        text = final_text(response)
        if text is None:
            return Score(status=Status.NO_ANSWER)
        # A restated puzzle is no answer, even where its last line happens to be right.
        text = text.replace(plain(str(entry["question"])).strip(), "")
        has_lines = entry["answer"] is None or "\n" in str(entry["answer"]).strip()
        answer = answer_in(Response(text), has_lines=has_lines)
        if answer is None:
            return Score(status=Status.NO_ANSWER)
        if len(answer) > MAX_ANSWER_CHARS:
            return Score(status=Status.TOO_COMPLEX, detail=f"the answer has over {MAX_ANSWER_CHARS} characters")
        return _verified(task, entry, answer)

    def attacks(self, task: Task) -> Mapping[str, str]:
        """Premises as their own conclusion, in the ways that need no reasoning."""
        premises = task.data["metadata"].get("premises")
        if not isinstance(premises, Sequence) or isinstance(premises, str) or not premises:
            return {}
        first, last = str(premises[0]), str(premises[-1])
        return {
            "the first premise": first,
            "the last premise": last,
            "the first premise or another": f"({first} \u2228 {last})",
            "both premises": f"({first} \u2227 {last})",
        }

    def gold(self, task: Task) -> str | None:
        """The data set's own answer; None where it gives none (several are right, none is stored)."""
        answer = task.data["answer"]
        return None if answer is None else f"<answer>{answer}</answer>"


def gym_of_dataset(name: str) -> type[Gym]:
    """The gym class behind the reference `reasoning_gym:<name>`: `logic` with that data set alone."""
    check_name(name)
    body = {
        "__doc__": f"Asks reasoning-gym's {name}.",
        "__module__": __name__,
        "default_datasets": (name,),
        "baseline": CHANCE.get(name, 0.05),
    }
    return type(f"ReasoningGym_{name}", (Logic,), body)


def default_mixture() -> tuple[str, ...]:
    """All data sets that are neither excluded nor leaky nor slow, by name."""
    return tuple(sorted(set(library().DATASETS) - set(EXCLUDED) - set(LEAKY) - set(SLOW)))


def check_name(name: str) -> None:
    """ValueError where a data set is unknown or excluded, with the reason."""
    if name in EXCLUDED and not (name == "zebra_puzzles" and has_pycosat()):
        raise ValueError(f"reasoning-gym's {name!r} is not offered: {EXCLUDED[name]}")
    if name not in library().DATASETS:
        raise ValueError(f"reasoning-gym has no data set {name!r}; it has {', '.join(sorted(library().DATASETS))}")


def fault_of(entry: Mapping[str, Any]) -> str:
    """Why a task's data is no entry of reasoning-gym that can be verified; empty where it is one."""
    missing = [key for key in _ENTRY_KEYS if key not in entry]
    if missing:
        return f"no {missing[0]!r}; expected an entry of reasoning-gym with question, answer and metadata"
    metadata = entry["metadata"]
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("source_dataset"), str):
        return "no metadata.source_dataset"
    if metadata["source_dataset"] not in library().DATASETS:
        return f"reasoning-gym has no data set {metadata['source_dataset']!r:.60}"
    answer = entry["answer"]
    if answer is None:
        is_open = metadata["source_dataset"] in SHAPES
        return "" if is_open else f"no answer, which {metadata['source_dataset']} cannot be verified without"
    if not isinstance(answer, str | int | float) or isinstance(answer, bool) or not str(answer).strip():
        return f"answer = {answer!r:.60}, expected a text"
    return ""


def is_fit(entry: Mapping[str, Any]) -> bool:
    """Whether an entry may be asked: it can be verified, its own answer is right, and a copy of what the puzzle's last
    line gives is not. (intermediate_integration has answers such as `Integral(...)`.)"""
    lines = str(entry["question"]).strip().splitlines() or [""]
    given = lines[-1].strip()
    is_copy = str(entry["answer"]).strip() in (given, given.rpartition(":")[2].strip())
    return not is_copy and not fault_of(entry) and not _gold_fault(entry)


def answer_in(response: str, *, has_lines: bool) -> str | None:
    """The answer of a response, or None; linear in its length.

    Args:
        has_lines: without tags, take the whole response rather than its last line.
    """
    text = after_thoughts(response)
    if text is None:
        return None
    start, end = (max((found.start() for found in tag.finditer(text)), default=-1) for tag in (_OPEN, _CLOSE))
    if start >= 0 or end >= 0:
        if end < start or start < 0:
            return None
        return text[start + len("<answer>") : end].strip() or None
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return None
    last = text.strip() if has_lines else lines[-1].strip()
    return re.sub(r"^(?:the )?(?:final )?answer(?: is)?\s*:?\s+", "", last, flags=re.IGNORECASE) or None


def _verified(task: Task, entry: dict[str, Any], answer: str) -> Score:
    """The score of an extracted answer.

    reasoning-gym's checks raise on odd answers. Whose fault that is, is told by its own answer: where that one passes,
    the model's answer is unreadable; where it does not, the task is broken.
    """
    name = entry["metadata"]["source_dataset"]
    rules = _rules_of(name) if name in SHAPES else _no_rules
    gold = entry["answer"]
    fault = _gold_fault(entry)
    if fault:
        return Score(status=Status.BAD_TASK, detail=f"task {task.id!r:.100}: {fault}")
    with _quiet():
        try:
            value = float(is_right(name, answer, entry, rules))
        except Exception as error:  # foreign code on a model's text: its own answer tells whose fault that is
            if gold is not None and name in SHAPES and _raises(rules, str(gold), entry):
                return Score(status=Status.BAD_TASK, detail=f"task {task.id!r:.100}: {_told(error)}")
            return Score(status=Status.INVALID_ANSWER, answer=answer[:200], detail=_told(error))
    return Score(status=Status.OK, value=value, answer=answer[:200], components={"fraction": value})


def _gold_fault(entry: Mapping[str, Any]) -> str:
    """Why an entry's own answer is none to go by; empty where it passes our check, or is compared as it stands."""
    name, gold = entry["metadata"]["source_dataset"], entry["answer"]
    doubt = "" if gold is None else doubt_of(entry)
    if doubt or gold is None or not (name in SHAPES or name in CHECKS):
        return doubt
    with _quiet():
        try:
            holds = is_right(name, str(gold), entry, _rules_of(name) if name in SHAPES else _no_rules)
        except Exception as error:  # foreign code, or a task that is not what it says
            return _told(error)
    return "" if holds else "its own answer does not solve it"


def _raises(rules: Any, gold: str, entry: dict[str, Any]) -> bool:
    """Whether the data set's check cannot even take its own answer."""
    try:
        rules(gold, copy.deepcopy(entry))
    except Exception:  # foreign code
        return True
    return False


def _told(error: Exception) -> str:
    return f"reasoning-gym raised {type(error).__name__}: {error!s:.200}"


def _no_rules(answer: str, entry: dict[str, Any]) -> float:
    return 0.0


@lru_cache(maxsize=128)
def _rules_of(name: str) -> Any:
    """The `score_answer` of a data set, which is made once."""
    with _quiet():
        return library().create_dataset(name, seed=0, size=1).score_answer


@lru_cache(maxsize=1)
def library() -> Any:
    """reasoning_gym.factory, with all data sets registered.

    The package imports pycosat for one data set. Where that is missing, a placeholder takes its place, whose use
    raises with the reason.
    """
    if not has_pycosat():
        sys.modules.setdefault("pycosat", _placeholder())
    return require("reasoning_gym.factory", user="the gym 'logic'")  # takes seconds


@lru_cache(maxsize=1)
def has_pycosat() -> bool:
    """Whether the solver that zebra_puzzles needs is installed."""
    found = sys.modules.get("pycosat")
    return hasattr(found, "solve") if found is not None else importlib.util.find_spec("pycosat") is not None


def _placeholder() -> types.ModuleType:
    module = types.ModuleType("pycosat", "Stands in for pycosat, which is not installed.")

    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError(f"zebra_puzzles {EXCLUDED['zebra_puzzles'].partition(': ')[0]}")

    module.itersolve = refuse  # type: ignore[attr-defined]
    return module


@contextlib.contextmanager
def _quiet() -> Any:
    """Some data sets print while they work, and one sets the precision of all decimals of its thread."""
    with contextlib.redirect_stdout(io.StringIO()), decimal.localcontext():
        yield


class _Tasks(LazyTasks):
    """Tasks of one split, made when they are indexed."""

    def __init__(self, settings: LogicSettings, names: tuple[str, ...], split: Split, size: int) -> None:
        self._settings = settings
        self._names = names
        self._split = split
        self._size = size
        self._made: dict[str, Any] = {}

    def __len__(self) -> int:
        return self._size

    def make(self, place: int) -> Task:
        number, which = divmod(place, len(self._names))
        name = self._names[which]
        entry = self._entry(name, number)
        return Task(
            id=f"{name}/{self._split}/{number}",
            prompt=(message("user", f"{entry['question']}{_INSTRUCTION}"),),
            data=entry,
        )

    def _entry(self, name: str, number: int) -> dict[str, Any]:
        """The first entry from `number` on, in steps, that belongs to this split and can be verified."""
        dataset = self._dataset(name)
        size = _SIZES.get(name, _SIZE)
        stride = _STRIDE if size > _STRIDE else int(0.618034 * size) | 1
        for attempt in range(_MAX_TRIES):
            with _quiet():
                entry = dict(dataset[(number + attempt * stride) % size])
            entry["metadata"] = {**entry.get("metadata", {}), "source_dataset": name}
            if is_heldout(entry["question"], fraction=HELDOUT_FRAC) == (self._split == "heldout") and is_fit(entry):
                return entry
        raise ValueError(f"reasoning-gym's {name} gave no {self._split} problem in {_MAX_TRIES} tries; leave it out")

    def _dataset(self, name: str) -> Any:
        if name not in self._made:
            args = self._settings.dataset_args.get(name, {})
            try:
                with _quiet():
                    self._made[name] = library().create_dataset(
                        name, seed=self._settings.seed, size=_SIZES.get(name, _SIZE), **args
                    )
            except (TypeError, AssertionError, ValueError) as error:
                raise ValueError(f"dataset_args.{name} = {args}: {error or 'refused by reasoning-gym'}") from error
        return self._made[name]
