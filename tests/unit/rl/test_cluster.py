"""What a run says when Ray reports that an actor died, or does not start."""

from __future__ import annotations

import traceback

import pytest
import ray
import ray.exceptions

from configs.schema import Config
from rl.cluster import _start_failure, _start_ray
from rl.faults import DeadlineExceeded

SLOW = "The current node timed out during startup. This could happen because the raylet failed to startup"
"""What Ray 2.60 raises where its node took longer than 30 s to register."""


def died_in_constructor(error: Exception) -> ray.exceptions.ActorDiedError:
    try:
        raise error
    except Exception as raised:
        text = "".join(traceback.format_exception(raised))
    return ray.exceptions.ActorDiedError.from_task_error(
        ray.exceptions.RayTaskError("Learner.__init__", text, error, pid=1, ip="127.0.0.1")
    )


@pytest.mark.parametrize("text", ["learner.lr is too big", "two lines:\nand: the other"])
def test_a_constructor_that_refuses_its_settings_is_told_as_its_own_message(text: str) -> None:
    cause = _start_failure(died_in_constructor(ValueError(text)))
    assert isinstance(cause, ValueError) and str(cause) == text


def test_any_other_exception_of_a_constructor_keeps_its_name() -> None:
    cause = _start_failure(died_in_constructor(OSError("no space left")))
    assert isinstance(cause, RuntimeError) and str(cause) == "OSError: no space left"


def test_the_last_exception_of_a_chain_is_the_one_that_counts() -> None:
    try:
        try:
            raise KeyError("x")
        except KeyError as error:
            raise ValueError("wanted x") from error
    except ValueError as error:
        cause = _start_failure(died_in_constructor(error))
    assert isinstance(cause, ValueError) and str(cause) == "wanted x"


def test_an_actor_that_died_later_is_no_failed_start() -> None:
    assert _start_failure(ray.exceptions.ActorDiedError()) is None


def starting(start_seconds: float) -> Config:
    return Config.model_validate(
        {"model": {"source": "tiny"}, "gyms": [{"name": "arithmetic"}], "cluster": {"start_seconds": start_seconds}}
    )


def ray_that(raises: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A Ray whose starts fail with these messages in turn, then succeed; returns the calls it gets."""
    calls: list[str] = []

    def init(**options: object) -> None:
        calls.append("init")
        if raises:
            raise Exception(raises.pop(0))

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    return calls


def test_ray_is_started_again_where_a_busy_machine_was_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ray_that([SLOW, SLOW], monkeypatch)
    _start_ray(starting(300.0))
    assert calls == ["init", "shutdown", "init", "shutdown", "init"]


def test_ray_is_not_started_again_after_another_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ray_that(["no space left on /dev/shm"], monkeypatch)
    with pytest.raises(Exception, match=r"^no space left on /dev/shm$"):
        _start_ray(starting(300.0))
    assert calls == ["init"]


def test_a_ray_that_never_starts_names_the_deadline_and_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ray_that([SLOW] * 9, monkeypatch)
    with pytest.raises(DeadlineExceeded, match=r"within 1e-09 s, in phase 'starting'.*raise cluster\.start_seconds"):
        _start_ray(starting(1e-9))
    assert calls == ["init"]
