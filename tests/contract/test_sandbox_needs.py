"""A gym that runs programs declares as much time as its own limits can come to on a busy machine.

Otherwise its worker is killed, and a right answer is a `timeout`, where a quiet machine pays for it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import BaseModel

from gyms.code.gym import CodeSettings
from gyms.code.limits import MAX_LIMITS
from gyms.episodes.calling import MAX_CALLS_A_TURN
from gyms.load import MAX_WALL_SECONDS, gym_names, resolve
from gyms.python_tool.gym import PythonToolSettings
from gyms.sandbox.patience import MAX_STRETCH, START_SECONDS, longest_seconds
from gyms.sandbox.programs import COMPILE_LIMITS, EXAM_EXTRA_SECONDS
from gyms.swe.gym import FILE_SECONDS, TURN_SECONDS, WALL_PER_CPU, SweSettings
from gyms.swe.judge import LIMITS


def most(settings: type[BaseModel], field: str) -> float:
    """The largest value that a setting takes."""
    return next(fact.le for fact in settings.model_fields[field].metadata if hasattr(fact, "le"))


def code() -> float:
    """A zygote and a job are started; runs until the time of all is spent; the last one, which began just before."""
    total = MAX_STRETCH * most(CodeSettings, "total_seconds")
    assert longest_seconds(COMPILE_LIMITS.wall_seconds) < total, "a compiler, which runs first, is one of them"
    wall = max(MAX_LIMITS["wall_seconds"], most(CodeSettings, "wall_seconds"))
    return 2 * START_SECONDS + total + longest_seconds(wall + EXAM_EXTRA_SECONDS)


def python() -> float:
    """A zygote and a session are started by the first call; all calls of a turn. The last turn is the other gym's."""
    opening = 3 * START_SECONDS
    turn = MAX_CALLS_A_TURN * longest_seconds(2.0 * most(PythonToolSettings, "cpu_seconds"))
    return max(opening + turn, code())


def swe() -> float:
    """Whichever is longer: a turn, the verdict on what was submitted, the two verdicts before a task is asked.

    A turn ends with a call that began just before its time was over. An edit lists, reads and writes.
    """
    opening, file = 3 * START_SECONDS, longest_seconds(WALL_PER_CPU * FILE_SECONDS)
    call = max(3 * file, longest_seconds(WALL_PER_CPU * most(SweSettings, "cpu_seconds")))
    turn = max(opening + file, MAX_STRETCH * TURN_SECONDS) + call
    verdict = opening + 2 * longest_seconds(LIMITS.wall_seconds)
    return max(turn, 2 * file + verdict, 2 * verdict)


LONGEST: dict[str, Callable[[], float]] = {"code": code, "python": python, "swe": swe}


def test_every_gym_with_a_sandbox_is_looked_at() -> None:
    assert {name for name in gym_names() if resolve(name).needs.sandbox} == LONGEST.keys()


@pytest.mark.parametrize("name", LONGEST)
def test_what_a_gyms_limits_allow_on_a_busy_machine_fits_into_its_needs(name: str) -> None:
    assert LONGEST[name]() <= resolve(name).needs.wall_seconds <= MAX_WALL_SECONDS
