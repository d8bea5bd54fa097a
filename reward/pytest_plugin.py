"""`pytest --gym NAME`: the conformance suite for a gym, as tests; for authors of plug-ins.

    pytest --gym my_gym                                  # an installed gym
    pytest --gym my_gym.py:MyGym --gym-args '{"size": 3}'

Without a path only the suite is run, with one it is added to the tests found there. pytest loads this file in every
session of an environment that has this project, so it imports nothing until `--gym` is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__: list[str] = []

_CHECKS = ("contract", "in_a_worker", "cancellation")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gyms", "reward gyms")
    group.addoption(
        "--gym",
        action="append",
        default=[],
        metavar="NAME",
        help="check that a gym keeps the contract; an entry point, module:Class or file.py:Class. May be repeated.",
    )
    group.addoption("--gym-args", default="{}", metavar="JSON", help="settings of the gyms of --gym")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --gym and no path, nothing else is collected."""
    is_alone = bool(config.getoption("gym", [])) and config.args_source is not pytest.Config.ArgsSource.ARGS
    return True if is_alone else None


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    items += list(_suite(session, config))


def _suite(session: pytest.Session, config: pytest.Config) -> Iterator[pytest.Item]:
    for reference in config.getoption("gym", []):
        for check in _CHECKS:
            yield GymCheck.from_parent(session, name=f"{reference}::{check}", reference=reference, check=check)


class GymCheck(pytest.Item):
    """One check of one gym."""

    def __init__(self, *, reference: str, check: str, **others: Any) -> None:
        super().__init__(**others)
        self._reference = reference
        self._check = check

    def runtest(self) -> None:
        from gyms.load import GymSpec, Keys
        from gyms.opening import opened
        from gyms.testing import check_gym
        from reward.conformance import check_cancellation, check_in_worker

        args = json.loads(self.config.getoption("gym_args"))
        spec = GymSpec(name="gym", reference=self._reference, args=args)
        with opened(self._reference, args, keys=Keys(gym="--gym", args="--gym-args")) as gym:
            if self._check == "contract":
                check_gym(gym)
            elif self._check == "in_a_worker":
                check_in_worker(spec, gym)
            else:
                check_cancellation(spec, gym)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """One sentence where the gym is at fault; a traceback where we are."""
        from gyms.testing import GymContractError

        if isinstance(excinfo.value, GymContractError | ValueError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"gym {self._reference}: {self._check}"
