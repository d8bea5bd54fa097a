r"""What a turn of a leased episode costs, with the `adder` environment, whose own work is next to nothing.

beside     turns answered in a second, of many episodes at the same time
long       one episode: milliseconds of a turn among the first 50, and among the last 50 of 300: is it flat?
replay     seconds from the death of its worker at turn 300 to the answer of the next turn, start included
idle       KiB of its worker's memory that an open episode of 20 turns holds

python -m benchmarks.episodes [--workers 2] [--episodes 500] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from pathlib import Path

from benchmarks.machine import machine
from gyms.api import Call, Task, Turn
from gyms.children import children_of
from gyms.load import GymSpec
from reward.scorer import Scorer

__all__ = ["measure"]

LONG = 300
_TASK = Task(id="t", prompt=(), data={"operands": (1, 2)})


def measure(*, num_workers: int = 2, num_episodes: int = 500, num_turns: int = 20) -> dict[str, float]:
    """The figures of the table above."""
    return asyncio.run(_measure(num_workers, num_episodes, num_turns))


async def _measure(num_workers: int, num_episodes: int, num_turns: int) -> dict[str, float]:
    with Scorer([GymSpec(name="adder", reference="gyms.adder.gym:Adder")], num_workers=num_workers) as scorer:
        await _open(scorer, "warm")
        await asyncio.gather(*(_open(scorer, f"warm{i}") for i in range(num_workers)))
        before, names = _resident_bytes(), [f"e{i}" for i in range(num_episodes)]
        start = time.perf_counter()
        await asyncio.gather(*(_open(scorer, name, num_turns) for name in names))
        seconds = time.perf_counter() - start
        held = _resident_bytes() - before
        await asyncio.gather(*(scorer.close_episode(name) for name in names))
        times = await _open(scorer, "long", LONG)
        for worker in _workers():
            os.kill(worker, signal.SIGKILL)
        (replay,) = await _step(scorer, "long", LONG, LONG + 1)
    return {
        "beside_turns_per_s": num_episodes * num_turns / seconds,
        "long_first_ms": 1000 * sum(times[:50]) / 50,
        "long_last_ms": 1000 * sum(times[-50:]) / 50,
        "replay_s": replay,
        "idle_kib": held / num_episodes / 1024,
    }


async def _open(scorer: Scorer, name: str, num_turns: int = 1) -> list[float]:
    await scorer.open_episode(name, "adder", _TASK, seed=0)
    return await _step(scorer, name, 0, num_turns)


async def _step(scorer: Scorer, name: str, first: int, last: int) -> list[float]:
    """Seconds of each turn."""
    times = []
    for place in range(first, last):
        call = Call(id=f"call_{place}", tool="add", arguments={"a": place, "b": 1})
        start = time.perf_counter()
        reply = await scorer.step(name, place, Turn(text="", calls=(call,)))
        times.append(time.perf_counter() - start)
        assert reply.messages[0]["content"] == str(place + 1)
    return times


def _workers() -> list[int]:
    return [worker for keeper in children_of(os.getpid()) for worker in children_of(keeper)]


def _resident_bytes() -> int:
    pages = sum(int(Path(f"/proc/{worker}/statm").read_text().split()[1]) for worker in _workers())
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="workers that hold the episodes")
    parser.add_argument("--episodes", type=int, default=500, help="episodes side by side")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args()
    figures = measure(num_workers=options.workers, num_episodes=options.episodes)
    if options.json:
        print(json.dumps({"machine": machine(), "command": "python -m benchmarks.episodes", **figures}))
        return
    print(" ".join(f"{name}={value}" for name, value in machine().items()))
    print(f"beside  {figures['beside_turns_per_s']:.0f} turns/s of {options.episodes} episodes")
    first, last = figures["long_first_ms"], figures["long_last_ms"]
    print(f"long    {first:.2f} ms a turn at first, {last:.2f} ms behind {LONG - 50}")
    print(f"replay  {figures['replay_s']:.2f} s after the death of a worker, behind {LONG} turns")
    print(f"idle    {figures['idle_kib']:.1f} KiB an open episode")


if __name__ == "__main__":
    main()
