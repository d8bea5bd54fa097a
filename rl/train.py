"""The algorithm: Kimi K1.5/K2 reinforcement learning of a model that is served in INT4. docs/algorithm.md explains it.

    python -m rl.train configs/tiny_cpu.toml [more.toml ...] [key.path=value ...]

Run it again after a kill and it goes on from the last checkpoint, to the same result as if it had never stopped.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rl.schedule import temperature_at

if TYPE_CHECKING:
    from rl.run import Run

__all__ = ["train"]


# fmt: off
async def train(run: Run) -> bool:
    """One run, from its last checkpoint to its final table; False where Ctrl-C stopped it first."""
    async with run:                                                   # actors, gyms, scorer; the newest checkpoint
        await warm_up(run)
        while run.state.goes_on:
            async with run.recovering():                              # a lost actor: rebuild it, do the step again
                await one_step(run)
        return await finish(run)


async def warm_up(run: Run) -> None:
    """What the model can do as released and rounded; then, once, supervised updates through the grid."""
    if run.state.is_warm:
        return
    if run.config.eval.compare_unquantised:
        async with run.cluster.serving(run.checked.model_folder, quantised=False) as policy:
            await run.evaluate(policy, "as released", weights="BF16")
    async with run.cluster.generating(run.state.weights) as policy:
        await run.evaluate(policy, "rounded to INT4")
    if run.config.warmup.num_steps:
        async with run.cluster.learning() as learner:
            await run.warm_up_updates(learner)                     # min NLL(curated), theta through INT4
            run.state.weights = await run.publish(learner)
    run.state.is_warm = True
    await run.save()


async def one_step(run: Run) -> None:
    """Sample, score, learn, publish."""
    temperature = temperature_at(run.state.step, *run.config.temperature_schedule)

    async with run.cluster.generating(run.state.weights) as policy:   # swap, verify ALL engines: pi_old = INT4(theta)
        await run.evaluate_if_due(policy)
        await run.calibrate_if_due(policy)                            # may the critic's verdicts count?
        groups = await run.rollout(policy, temperature=temperature)   # y_1..y_K ~ pi_old(.|x), |y| <= budget(x), scored
    batch = run.learning_batch(groups)                                # A_i = r_i - mean_j r_j, masks, minibatches

    async with run.cluster.learning() as learner:
        batch = await run.add_old_logprobs(learner, batch)            # log pi_old, before any update
        updates = await run.update(learner, batch)                    # policy loss + ptx_coef * NLL, through INT4
        weights = await run.publish(learner)                          # pack theta: an immutable, versioned artefact
    run.step_done(batch, updates, weights, temperature=temperature)   # step += 1; verified groups teach the critic
    await run.save_if_due()


async def finish(run: Run) -> bool:
    """After the last step: evaluate, export, show the table. After Ctrl-C: save."""
    await run.save()
    if run.state.is_stopping:
        return False
    async with run.cluster.generating(run.state.weights) as policy:
        await run.evaluate(policy, "after RL")
    await run.export()
    run.final_table()
    return True


# fmt: on

if __name__ == "__main__":
    from rl.cli import main

    sys.exit(main())
