"""How a run starts Ray, what it says where Ray does not come up, and each engine's share of the devices."""

from __future__ import annotations

import pytest
import ray

from configs.schema import Config
from rl.actors import _start_ray, cpus_per_bundle, gpus_per_bundle
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


def with_engines(num_engines: int, cpus: int | None = None) -> Config:
    return Config.model_validate(
        {
            "model": {"source": "tiny"},
            "gyms": [{"name": "arithmetic"}],
            "engine": {"num_engines": num_engines},
            "cluster": {"cpus_per_bundle": cpus},
        }
    )


@pytest.mark.parametrize(("num_engines", "gpus", "each"), [(1, 0, 0), (4, 0, 0), (1, 1, 1), (4, 4, 1), (4, 8, 1)])
def test_engines_have_a_gpu_each_where_there_are_any(num_engines: int, gpus: int, each: int) -> None:
    have = {"CPU": 8.0, "GPU": float(gpus)} if gpus else {"CPU": 8.0}
    assert gpus_per_bundle(with_engines(num_engines), have) == each


@pytest.mark.parametrize(("num_engines", "gpus"), [(2, 1.0), (4, 3.0)])
def test_fewer_gpus_than_engines_are_refused_with_both_numbers(num_engines: int, gpus: float) -> None:
    told = rf"has {gpus:g} GPU\(s\), and engine\.num_engines = {num_engines} engines need one each; "
    with pytest.raises(ValueError, match=told):
        gpus_per_bundle(with_engines(num_engines), {"CPU": 8.0, "GPU": gpus})


def test_cpus_are_shared_out_among_the_engines_and_too_few_are_refused() -> None:
    assert cpus_per_bundle(with_engines(2), {"CPU": 5.0}) == 2
    assert cpus_per_bundle(with_engines(2, cpus=1), {"CPU": 5.0}) == 1
    with pytest.raises(ValueError, match=r"has 5 CPUs; engine\.num_engines = 2 bundles of .* = 3 need 6; lower"):
        cpus_per_bundle(with_engines(2, cpus=3), {"CPU": 5.0})
    with pytest.raises(ValueError, match=r"has 2 CPUs; engine\.num_engines = 3 "):
        cpus_per_bundle(with_engines(3), {"CPU": 2.0})
