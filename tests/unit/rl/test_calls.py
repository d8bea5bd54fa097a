"""What a call ends in: an answer, a deadline, a process that died or did not start, or what the method raised."""

from __future__ import annotations

import asyncio
import traceback
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import ray
import ray.exceptions

from configs.sections import ClusterConfig
from rl.calls import Actor, _start_failure
from rl.faults import ActorLost, DeadlineExceeded, HandedLost
from rl.processes import Place
from rollout.engine.engine import EngineBroken


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


class Reference:
    """Ray's promise of an answer, kept, broken or open."""

    def __init__(self, outcome: object) -> None:
        self._future: Future[object] = Future()
        if isinstance(outcome, BaseException):
            self._future.set_exception(outcome)
        elif outcome is not None:
            self._future.set_result(outcome)

    def future(self) -> Future[object]:
        return self._future


def learner_that(outcome: object) -> Actor:
    """An actor whose `update` comes to `outcome`; None: never."""
    update = SimpleNamespace(remote=lambda *args, **kwargs: Reference(outcome))
    limits = ClusterConfig(update_seconds=0.01 if outcome is None else 300.0)
    place = Place(phase="learn", step=7)
    return Actor("learner", SimpleNamespace(update=update), limits=limits, place=place)


def ask(actor: Actor) -> object:
    return asyncio.run(actor.ask("update", setting="update_seconds"))


def raised_over_there(error: Exception) -> Exception:
    return ray.exceptions.RayTaskError("update", "Traceback", error, pid=1, ip="127.0.0.1").as_instanceof_cause()


def test_an_answer_is_returned_and_nothing_has_failed() -> None:
    actor = learner_that(42)
    assert ask(actor) == 42 and actor.failure is None


def test_a_process_that_was_ended_is_not_asked_again_which_would_start_ray_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    actor = learner_that(42)
    monkeypatch.setattr(ray, "kill", lambda handle: None)
    actor.kill()
    with pytest.raises(ActorLost, match=r"^learner\.update: the process was ended$"):
        ask(actor)


def test_a_call_without_an_answer_names_actor_method_phase_step_and_setting() -> None:
    actor = learner_that(None)
    with pytest.raises(DeadlineExceeded) as told:
        ask(actor)
    assert str(told.value) == (
        "learner.update in phase 'learn' of step 7 did not answer within 0.01 s; if that is too short, raise "
        "cluster.update_seconds"
    )
    assert actor.failure is told.value


def test_a_process_that_died_is_named_in_the_same_way() -> None:
    actor = learner_that(ray.exceptions.ActorDiedError())
    with pytest.raises(ActorLost, match=r"^learner\.update in phase 'learn' of step 7: the process died: ") as told:
        ask(actor)
    assert actor.failure is told.value and "\n" not in str(told.value)


NODE_DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: Learner
\tpid: 7
\tip: 10.77.0.3
The actor died because its node has died. Node Id: 00ff
\tthe actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats"""


def test_a_process_whose_node_is_gone_or_cut_off_is_told_with_the_nodes_address_and_what_to_do() -> None:
    error = ray.exceptions.ActorDiedError()
    error.args, error.error_msg = (NODE_DIED,), NODE_DIED
    told = r"^learner\.update in phase 'learn' of step 7: its node 10\.77\.0\.3 died or cannot be reached; mend it or "
    with pytest.raises(ActorLost, match=told):
        ask(learner_that(error))


def test_a_process_that_does_not_start_is_told_with_what_the_cluster_lacks_for_it() -> None:
    handle = SimpleNamespace(__ray_ready__=SimpleNamespace(remote=lambda: Reference(None)))
    limits = ClusterConfig(start_seconds=0.01)
    for lack, told in (("no node has room", "did not start within 0.01 s: no node has room"), ("", "did not answer")):
        actor = Actor("engine 1", handle, limits=limits, place=Place(step=7), lack=lambda lack=lack: lack)
        with pytest.raises(DeadlineExceeded, match=told):
            asyncio.run(actor.ask("__ray_ready__", setting="start_seconds"))


@pytest.mark.parametrize("error", [ValueError("learner.lr is negative"), RuntimeError("not finite"), KeyError("a")])
def test_what_a_method_raised_arrives_as_itself_and_the_process_lives(error: Exception) -> None:
    actor = learner_that(raised_over_there(error))
    with pytest.raises(type(error)) as told:
        ask(actor)
    assert str(told.value) == str(error) and actor.failure is None


LOST = (
    ray.exceptions.ObjectLostError("00ff", None, ""),
    ray.exceptions.OwnerDiedError("00ff", None, ""),
    ray.exceptions.ObjectReconstructionFailedError("00ff"),
    ray.exceptions.ObjectFetchTimedOutError("00ff", None, ""),
)
"""What Ray says of a reference whose last copy went down with its node."""


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_a_process_that_was_handed_what_is_gone_says_so_and_not_that_it_died(error: Exception) -> None:
    actor = learner_that(raised_over_there(error))
    told = r"^learner\.update in phase 'learn' of step 7: what it was handed is lost: Failed to retrieve object 00ff"
    with pytest.raises(HandedLost, match=told) as found:
        ask(actor)
    assert actor.failure is found.value and "\n" not in str(found.value)


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_an_answer_that_went_down_with_its_node_is_a_lost_process(error: Exception) -> None:
    actor = learner_that(error)
    with pytest.raises(ActorLost, match="its answer is lost, and so is its node: Failed to retrieve object") as found:
        ask(actor)
    assert actor.failure is found.value and not isinstance(found.value, HandedLost)


def test_a_process_that_ray_ended_for_want_of_memory_is_lost_as_any_other() -> None:
    actor = learner_that(ray.exceptions.OutOfMemoryError("1 worker was killed\nbecause the node ran low on memory"))
    with pytest.raises(ActorLost, match=r": the process died: 1 worker was killed$") as found:
        ask(actor)
    assert actor.failure is found.value


def test_a_timeout_that_a_method_raised_is_no_missed_deadline() -> None:
    actor = learner_that(raised_over_there(TimeoutError("of its own")))
    with pytest.raises(TimeoutError, match=r"^of its own$"):
        ask(actor)
    assert actor.failure is None


def test_an_engine_that_says_it_is_broken_must_be_started_anew() -> None:
    actor = learner_that(raised_over_there(EngineBroken("could not be put back")))
    with pytest.raises(EngineBroken, match="could not be put back") as told:
        ask(actor)
    assert actor.failure is told.value


def test_a_constructor_that_refused_its_settings_is_no_lost_process() -> None:
    actor = learner_that(died_in_constructor(ValueError("learner.lr is too big")))
    with pytest.raises(ValueError, match=r"^learner\.lr is too big$"):
        ask(actor)
    assert actor.failure is None
