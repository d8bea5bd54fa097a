"""A step that fails is forgotten and done again, from where the learner stands or from the newest checkpoint."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from configs.schema import Config
from rl.ahead import Drawn
from rl.alarms import WATCHED
from rl.checkpoint import complete_checkpoints
from rl.collect import Collected
from rl.console import view_of
from rl.faults import ActorLost, DeadlineExceeded
from rl.preflight import Checked
from rl.recovery import Recoverable
from rl.report import Report
from rl.run_folder import RunFolder
from rollout.engine.device import CPU, CUDA, DeviceProfile
from tests.unit.rl.small_cluster import InThisProcess

NUM_STEPS = 6


def run_of(folder: Path, here: InThisProcess, checkpoint: Any = None, *, steps_ahead: int = 0) -> Recoverable:
    """Six steps with a checkpoint every second one, and two restarts in four steps."""
    config = Config.model_validate(
        {
            "model": {"source": "tiny"},
            "gyms": [{"name": "arithmetic"}],
            "num_steps": NUM_STEPS,
            "engine": {"num_engines": 3},
            "checkpoint": {"every": 2},
            "cluster": {"max_restarts": 2, "restart_window_steps": 4, "separate": steps_ahead > 0},
            "rollout": {"steps_ahead": steps_ahead},
            "report": {"wandb": "off"},
        }
    )
    chat: Any = SimpleNamespace(end_token_ids=(0,), tokenizer=None)
    nothing: Any = None  # steps of these tests draw nothing
    checked = Checked(
        config=config, folder=RunFolder(folder), model_folder=folder / "base", chat=chat, gyms=(), specs=(), ptx=None,
        num_parameters=0, fingerprint={}, golds=nothing, askable=nothing, sampler=nothing, token_budgets=nothing,
        thinking=nothing, checkpoint=checkpoint, notes=(),
    )  # fmt: skip
    return Recoverable(checked, Report(config, folder, view_of("auto", Console(file=io.StringIO()))), processes=here)


async def draw(step: int, in_draw: Callable[[], None]) -> Drawn:
    """What is drawn ahead: nothing."""
    await asyncio.sleep(0)
    in_draw()
    return Drawn(step=step, collected=Collected(groups=()), seconds=0.0)


async def one_step(
    run: Recoverable,
    in_rollout: Callable[[], None],
    in_update: Callable[[], None],
    in_draw: Callable[[], None] = lambda: None,
) -> None:
    """What a step leaves behind, without what it is for."""
    step = run.state.step
    async with run.cluster.generating(run.state.weights):
        run.folder.write_rollouts(step, [{"step": step}])
        run.state.num_evals += 1
        in_rollout()
        await asyncio.sleep(0)
        if run.config.rollout.steps_ahead:
            if (drawn := await run.cluster.ahead.take()) is not None:
                assert drawn.step == step
            if step + 1 < NUM_STEPS:
                run.cluster.draw_ahead(step + 1, lambda policy: draw(step + 1, in_draw))
    async with run.cluster.learning() as learner:
        in_update()
        await learner.update(None, [], lr=0.1)  # type: ignore[arg-type]
        weights = await learner.publish(run.state.weights.version + 1)
    run.folder.append(run.folder.metrics, {"step": step})
    run.watched.append(dict.fromkeys(WATCHED))
    run.state.advance(weights)
    run.cluster.place.step, learner.has_moved = run.state.step, False
    await run.save_if_due()


def go(
    folder: Path,
    *,
    device: DeviceProfile = CPU,
    in_rollout: Callable[[Recoverable, InThisProcess], None] = lambda run, here: None,
    in_update: Callable[[Recoverable, InThisProcess], None] = lambda run, here: None,
    in_draw: Callable[[Recoverable, InThisProcess], None] = lambda run, here: None,
    at_end: Callable[[Recoverable, InThisProcess], Awaitable[None]] | None = None,
    steps_ahead: int = 0,
) -> list[int]:
    """The steps of a run in the order in which they began, those that were done again included."""
    began: list[int] = []

    async def loop() -> None:
        here = InThisProcess(device)
        async with run_of(folder, here, steps_ahead=steps_ahead) as run:
            run.state.is_warm = True
            await run.save()
            while run.state.goes_on:
                began.append(run.state.step)
                async with run.recovering():
                    await one_step(
                        run, lambda: in_rollout(run, here), lambda: in_update(run, here), lambda: in_draw(run, here)
                    )
            if at_end is not None:
                await at_end(run, here)

    asyncio.run(loop())
    return began


async def expect_a_whole_run(run: Recoverable, here: InThisProcess) -> None:
    assert [row["step"] for row in run.folder.rows(run.folder.metrics)] == list(range(NUM_STEPS))
    assert len(list(run.folder.rollouts.iterdir())) == NUM_STEPS
    assert run.state.num_evals == NUM_STEPS and run.state.weights.version == NUM_STEPS
    assert here.running["learner"].inside.num_updates == NUM_STEPS


class Once:
    """Has a process fail in its next call, in one step, the first time it is done."""

    def __init__(self, name: str, step: int, error: Exception) -> None:
        self.name, self.step, self.error = name, step, error
        self.is_done = False

    def __call__(self, run: Recoverable, here: InThisProcess) -> None:
        if not self.is_done and run.state.step == self.step:
            self.is_done = True
            here.running[self.name].fault = self.error


@pytest.mark.parametrize("device", [CPU, CUDA], ids=["cpu", "cuda"])
def test_a_step_whose_engine_was_lost_is_done_again_and_no_other(tmp_path: Path, device: DeviceProfile) -> None:
    in_rollout = Once("engine 1", 2, ActorLost("engine 1.finished: the process died"))
    # on a CPU nobody asks the engine again before the next hand-over, when step 2 is done
    done = [0, 1, 2, 3, 3, 4, 5] if device is CPU else [0, 1, 2, 2, 3, 4, 5]
    assert go(tmp_path, device=device, in_rollout=in_rollout, at_end=expect_a_whole_run) == done


@pytest.mark.parametrize("device", [CPU, CUDA], ids=["cpu", "cuda"])
@pytest.mark.parametrize("error", [ActorLost("learner.update: the process died"), DeadlineExceeded("learner.update")])
def test_a_lost_learner_rewinds_the_run_to_its_newest_checkpoint(
    tmp_path: Path, error: Exception, device: DeviceProfile
) -> None:
    in_update = Once("learner", 3, error)
    assert go(tmp_path, device=device, in_update=in_update, at_end=expect_a_whole_run) == [0, 1, 2, 3, 2, 3, 4, 5]


def test_the_first_checkpoint_is_waited_for_as_a_lost_learner_has_no_other_to_go_back_to(tmp_path: Path) -> None:
    async def loop() -> None:
        here = InThisProcess(CPU)
        async with run_of(tmp_path, here) as run:
            learner = here.running["learner"]
            for step in (0, 2):
                run.state.step = step
                learner.busy_until.clear()
                saving = asyncio.create_task(run.save())
                for _ in range(50):
                    await asyncio.sleep(0)
                assert saving.done() == (step > 0), "later ones are written while engines sample"
                learner.busy_until.set()
                await saving
                if step == 0:
                    assert [found.step for found in complete_checkpoints(run.folder.checkpoints)] == [0]

    asyncio.run(loop())


def test_a_learner_that_died_with_an_engine_while_sampling_rewinds_the_run(tmp_path: Path) -> None:
    """One node had both; only the engine was asked, and the learner had not been updated."""
    fall = ActorLost("engine 1.finished: the process died")
    is_done: list[bool] = []

    def in_rollout(run: Recoverable, here: InThisProcess) -> None:
        if run.state.step == 3 and not is_done:
            is_done.append(True)
            here.running["learner"].fault = ActorLost("learner.__ray_ready__: the process died")
            here.running["engine 1"].failure = fall
            raise fall

    assert go(tmp_path, in_rollout=in_rollout, at_end=expect_a_whole_run) == [0, 1, 2, 3, 2, 3, 4, 5]


def test_a_learner_that_is_lost_again_while_it_is_started_anew_counts_as_one_more_loss(tmp_path: Path) -> None:
    """Ray may start it on the node that died, until it finds out."""
    first, again = ActorLost("learner.update: the process died"), ActorLost("learner.__ray_ready__: the process died")
    fall = Once("learner", 3, first)

    def in_update(run: Recoverable, here: InThisProcess) -> None:
        if not fall.is_done:
            fall(run, here)
            here.doomed = {"learner": again} if fall.is_done else {}

    async def at_end(run: Recoverable, here: InThisProcess) -> None:
        await expect_a_whole_run(run, here)
        assert here.stopped.count("learner") == 2 and not here.doomed

    assert go(tmp_path / "twice", in_update=in_update, at_end=at_end) == [0, 1, 2, 3, 2, 3, 4, 5]

    def always(run: Recoverable, here: InThisProcess) -> None:
        here.running["learner"].fault = first
        here.doomed = {"learner": again}

    with pytest.raises(ActorLost, match=r"^learner\.update"):  # of four steps two may be lost: here, each loses two
        go(tmp_path / "always", in_update=always)


def test_more_restarts_than_allowed_within_the_window_end_the_run_with_the_fault_itself(tmp_path: Path) -> None:
    began: list[int] = []

    def in_update(run: Recoverable, here: InThisProcess) -> None:
        began.append(run.state.step)
        if run.state.step == 3:
            here.running["learner"].fault = ActorLost("learner.update: the process died")

    with pytest.raises(ActorLost, match=r"^learner\.update: the process died$"):
        go(tmp_path, in_update=in_update)
    assert began == [0, 1, 2, 3, 2, 3, 2, 3]


def test_a_fault_that_is_nobodys_loss_ends_the_run_at_once(tmp_path: Path) -> None:
    in_update = Once("learner", 3, RuntimeError("the gradient is not finite"))
    with pytest.raises(RuntimeError, match="the gradient is not finite"):
        go(tmp_path, in_update=in_update)


def test_a_stop_while_sampling_forgets_the_step_and_ends_the_run_where_it_began(tmp_path: Path) -> None:
    def in_rollout(run: Recoverable, here: InThisProcess) -> None:
        if run.state.step == 3:
            run.request_stop()

    async def at_end(run: Recoverable, here: InThisProcess) -> None:
        assert run.state.is_stopping and run.state.step == 3 and run.state.num_evals == 3
        assert [row["step"] for row in run.folder.rows(run.folder.metrics)] == [0, 1, 2]
        assert sorted(file.name for file in run.folder.rollouts.iterdir()) == [f"step_00000{i}.jsonl" for i in range(3)]

    assert go(tmp_path, in_rollout=in_rollout, at_end=at_end) == [0, 1, 2, 3]


@pytest.mark.parametrize("phase", ["in_rollout", "in_update"])
def test_a_second_stop_ends_the_run_at_once_and_saves_nothing(tmp_path: Path, phase: str) -> None:
    """Half of a step's updates would be in the checkpoint, and be done again behind it."""

    def stop_twice(run: Recoverable, here: InThisProcess) -> None:
        if run.state.step == 3:
            run.request_stop()
            run.request_stop()

    async def at_end(run: Recoverable, here: InThisProcess) -> None:
        raise AssertionError("the run went on to its end, where it saves")

    with pytest.raises(asyncio.CancelledError):
        go(tmp_path, at_end=at_end, **{phase: stop_twice})
    assert [found.step for found in complete_checkpoints(RunFolder(tmp_path).checkpoints)] == [2, 0]


def test_an_engine_that_is_lost_while_it_draws_ahead_rewinds_the_run(tmp_path: Path) -> None:
    is_done: list[bool] = []

    def in_draw(run: Recoverable, here: InThisProcess) -> None:
        if run.state.step == 2 and not is_done:
            is_done.append(True)
            here.running["engine 1"].failure = ActorLost("engine 1.finished: the process died")
            raise here.running["engine 1"].failure

    done = [0, 1, 2, 3, 2, 3, 4, 5]  # step 2 ends, and step 3 finds that it has no samples; a checkpoint holds step 2
    assert go(tmp_path, in_draw=in_draw, at_end=expect_a_whole_run, steps_ahead=1) == done


def test_a_stop_before_what_was_drawn_ahead_is_taken_ends_the_run_at_once_and_it_is_saved(tmp_path: Path) -> None:
    def in_rollout(run: Recoverable, here: InThisProcess) -> None:
        if run.state.step == 3:
            run.request_stop()

    async def at_end(run: Recoverable, here: InThisProcess) -> None:
        assert run.state.step == 3
        await run.save()
        await run.cluster.learner.saved()
        newest = complete_checkpoints(run.folder.checkpoints)[0]
        assert newest.step == 3 and newest.run["ahead"] is not None

    assert go(tmp_path, in_rollout=in_rollout, at_end=at_end, steps_ahead=1) == [0, 1, 2, 3]


def test_a_stop_behind_what_was_taken_lets_the_step_end_also_the_last_one(tmp_path: Path) -> None:
    def in_rollout(run: Recoverable, here: InThisProcess) -> None:
        if run.state.step == NUM_STEPS - 1:
            run.cluster.ahead.taken = NUM_STEPS - 1
            run.request_stop()

    assert go(tmp_path, in_rollout=in_rollout, at_end=expect_a_whole_run, steps_ahead=1) == list(range(NUM_STEPS))


def test_a_stop_whose_draw_ahead_fails_saves_the_step_that_was_learned(tmp_path: Path) -> None:
    def in_update(run: Recoverable, here: InThisProcess) -> None:
        if run.state.step == 2:
            run.request_stop()

    def in_draw(run: Recoverable, here: InThisProcess) -> None:
        if run.state.step == 2:
            raise ActorLost("engine 1.finished: the process died")

    async def at_end(run: Recoverable, here: InThisProcess) -> None:
        assert run.state.step == 3
        await run.save()
        await run.cluster.learner.saved()
        newest = complete_checkpoints(run.folder.checkpoints)[0]
        assert newest.step == 3 and newest.run["ahead"] is None

    assert go(tmp_path, in_update=in_update, in_draw=in_draw, at_end=at_end, steps_ahead=1) == [0, 1, 2]


def test_a_stop_while_learning_lets_the_step_end(tmp_path: Path) -> None:
    def in_update(run: Recoverable, here: InThisProcess) -> None:
        if run.state.step == 3:
            run.request_stop()

    assert go(tmp_path, in_update=in_update) == [0, 1, 2, 3]
