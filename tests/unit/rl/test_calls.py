"""What a run says when Ray reports that an actor died, or does not start."""

from __future__ import annotations

import traceback

import pytest
import ray
import ray.exceptions

from rl.calls import _start_failure


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
