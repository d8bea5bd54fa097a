"""A run's numbers at the metrics port of a real Ray, and where the run folder says that port is."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import ray

from configs.schema import Config
from rl.actors import _OWN_CLUSTER, _start_ray
from rl.gauges import PrometheusTracker, gauge_of
from rl.metric_table import METRICS
from tests.integration.harness import children_named

PATIENCE = 300.0
"""Seconds until what should come counts as lost."""
INTERVAL = 1.0
"""Seconds after which Ray passes numbers on, here; 10 where nobody says."""


@pytest.fixture(scope="module")
def cluster_of_ray() -> Iterator[None]:
    """As a run starts one for itself, but for the interval."""
    cluster = {"start_seconds": PATIENCE, "object_store_bytes": 100 << 20}
    gyms = [{"name": "arithmetic"}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_OWN_CLUSTER, "metrics_report_interval_ms", int(1000 * INTERVAL))
        _start_ray(Config.model_validate({"model": {"source": "tiny"}, "gyms": gyms, "cluster": cluster}))
    yield
    ray.shutdown()


def shown(folder: Path) -> dict[str, tuple[dict[str, str], float]]:
    """Our gauges at the endpoints that the run folder lists, one of each name: its labels and value."""
    found = {}
    for target in json.loads((folder / "prometheus.json").read_text())[0]["targets"]:
        for line in urlopen(f"http://{target}/metrics", timeout=10).read().decode().splitlines():
            if match := re.fullmatch(r"(ray_k2rl_\w+)\{(.*)\} (\S+)", line):
                found[match[1]] = dict(re.findall(r'(\w+)="([^"]*)"', match[2])), float(match[3])
    return found


def wait_for(folder: Path, is_there: Callable[[dict[str, tuple[dict[str, str], float]]], bool]) -> dict:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if is_there(found := shown(folder)):
                return found
        except OSError as error:  # Ray's agent does not listen yet, or is busy
            found = {"unanswered": ({}, 0.0)}
            print(error)
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_every_row_of_the_table_has_a_gauge_of_its_own() -> None:
    names = [gauge_of(re.sub("<phase>", "update", re.sub("<(gym|component)>", "x-1", one.name))) for one in METRICS]
    assert None not in names
    assert len({name for name, _ in filter(None, names)}) == len(METRICS)
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name, _ in filter(None, names))


def test_parts_in_angle_brackets_become_labels() -> None:
    assert gauge_of("reward/mean") == ("k2rl_reward_mean", {})
    assert gauge_of("reward/my-sums/mean") == ("k2rl_reward_gym_mean", {"gym": "my-sums"})
    assert gauge_of("reward/my-sums/a/b") == ("k2rl_reward_gym_component", {"gym": "my-sums", "component": "a/b"})
    assert gauge_of("phase/update_seconds") == ("k2rl_phase_phase_seconds", {"phase": "update"})
    assert gauge_of("nobody/knows") is None


def test_a_steps_numbers_are_served_by_ray_and_the_next_steps_replace_them(
    cluster_of_ray: None, tmp_path: Path
) -> None:
    tracker = PrometheusTracker("mine", tmp_path, refresh_seconds=INTERVAL / 4)
    row = {"step": 0, "reward/mean": 0.25, "reward/sums/mean": 0.5, "rollout/turns_mean": None, "nobody/knows": 1.0}
    tracker.log(row, 0)
    found = wait_for(tmp_path, lambda found: len(found) >= 3)
    labels, value = found["ray_k2rl_reward_gym_mean"]
    assert value == 0.5 and labels["gym"] == "sums" and labels["run"] == "mine"
    assert set(found) == {"ray_k2rl_step", "ray_k2rl_reward_mean", "ray_k2rl_reward_gym_mean"}
    tracker.log({"step": 1, "reward/mean": None}, 1)
    expected = {"ray_k2rl_step": 1.0, "ray_k2rl_reward_gym_mean": 0.5}  # Ray has forgotten what is not set
    wait_for(tmp_path, lambda found: {name: value for name, (_, value) in found.items()} == expected)
    tracker.close()


def test_a_turn_that_fails_ends_neither_those_after_it_nor_the_run(cluster_of_ray: None, tmp_path: Path) -> None:
    tracker = PrometheusTracker("fails", tmp_path, refresh_seconds=0.01)
    tracker.log({"step": 0}, 0)
    has_failed, is_set_again = threading.Event(), threading.Event()

    class Refusing:
        """A gauge that cannot be set, as where Ray goes down."""

        def set(self, value: float, tags: dict[str, str]) -> None:
            if has_failed.is_set():
                is_set_again.set()
            has_failed.set()
            raise RuntimeError("Ray is gone")

    well, tracker._gauges["k2rl_step"] = tracker._gauges["k2rl_step"], Refusing()  # type: ignore[assignment]
    assert has_failed.wait(PATIENCE) and is_set_again.wait(PATIENCE)
    tracker._gauges["k2rl_step"] = well
    tracker.log({"step": 1}, 1)
    tracker.close()
    tracker.log({"step": 2}, 2)  # of a run's last evaluation, perhaps: it starts nothing anew


def test_a_ray_of_a_runs_own_has_no_process_that_waits_for_work(cluster_of_ray: None) -> None:
    """Unless told, Ray starts one for each CPU, of which actors with variables of their own use none."""
    raylet = Path(ray.__file__).parent / "core/src/ray/raylet/raylet"
    assert children_named(os.getpid(), str(raylet))
    assert children_named(os.getpid(), "ray::IDLE") == []
