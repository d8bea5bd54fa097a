"""How a run starts Ray, and what it says where Ray does not come up."""

from __future__ import annotations

import asyncio
import socket

import pytest
import ray

from configs.schema import Config
from rl.actors import Actors, _start_ray, nodes_of_running_cluster, on_ray
from rl.faults import DeadlineExceeded

SLOW = "The current node timed out during startup. This could happen because the raylet failed to startup"
"""What Ray 2.60 raises where its node took longer than 30 s to register."""


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
    monkeypatch.setattr(ray, "is_initialized", lambda: calls[-1:] == ["init"])
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


@pytest.mark.parametrize(
    ("cpus", "whose"), [([2.0], r"^this machine has 2 CPUs, room"), ([1.0, 1.0], r"^the Ray cluster has 1 \+ 1 CPUs")]
)
def test_a_machine_without_a_cluster_is_called_one_also_where_its_ray_serves_several_in_turn(
    monkeypatch: pytest.MonkeyPatch, cpus: list[float], whose: str
) -> None:
    async def scenario() -> None:
        with on_ray(config):
            async with Actors(config):
                pass

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray_that([], monkeypatch)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Resources": {"CPU": num}, "Alive": True} for num in cpus])
    config = starting(300.0)
    config = config.model_copy(update={"engine": config.engine.model_copy(update={"num_engines": 3})})
    with pytest.raises(ValueError, match=whose):
        asyncio.run(scenario())


def test_one_ray_serves_clusters_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    calls = ray_that([], monkeypatch)
    with on_ray(starting(300.0)):
        for _ in range(2):
            with on_ray(starting(300.0)):
                assert calls == ["init"]
        assert calls == ["init"]
    assert calls == ["init", "shutdown"]


def test_a_cluster_is_asked_for_its_port_before_ray_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = ray_that([], monkeypatch)
    with socket.socket() as bound:  # and does not listen: connections to it are refused
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        refused = rf"^no Ray cluster answers at {address} \(cluster\.address, or RAY_ADDRESS\): .*[Rr]efused"
        with pytest.raises(ValueError, match=refused):
            nodes_of_running_cluster(starting(300.0))
        with pytest.raises(ValueError, match=refused), on_ray(starting(300.0)):
            pass
        assert calls == []
        bound.listen()
        with on_ray(starting(300.0)):
            assert calls == ["init"]
