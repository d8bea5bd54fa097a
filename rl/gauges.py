"""A run's numbers as Prometheus gauges, by way of Ray: every node of a Ray cluster serves them over HTTP already.

A name of metrics.jsonl becomes a gauge's: `reward/mean` is `k2rl_reward_mean`, and what stands in the place of angle
brackets in rl/metric_table.py becomes a label, so that `reward/arithmetic/mean` is
`k2rl_reward_gym_mean{gym="arithmetic"}`; every gauge has the label `run`. Ray puts `ray_` before them all.

Ray passes on what was set since it last did, and forgets a gauge that is not set again within two of its intervals of
10 s: that of a step which takes minutes would be gone before the next. So a thread sets all of them again every few
seconds. What is null in a step is no longer set and disappears; what a step does not write stays as it was.

Where to read them is in `prometheus.json` of the run folder, in the form of Prometheus's `file_sd_configs`: nodes and
their ports, written when the first numbers are, because Ray is not up before.

Left out: samples, which are text, and histograms of our own.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.util.metrics import Gauge

from rl.metric_table import PLACEHOLDERS, metric_of
from rl.run_folder import write_atomically

__all__ = ["PrometheusTracker", "gauge_of"]

REFRESH_SECONDS = 5.0
"""Half of the interval at which Ray passes gauges on (`metrics_report_interval_ms`)."""
_HOLE = re.compile(r"<(\w+)>")


def gauge_of(key: str) -> tuple[str, dict[str, str]] | None:
    """A gauge's name and labels for a name of metrics.jsonl; None where the table of metrics has no such name.

    Example: `gauge_of("reward/sums/mean") == ("k2rl_reward_gym_mean", {"gym": "sums"})`
    """
    metric = metric_of(key)
    if metric is None:
        return None
    found = re.fullmatch(
        "".join(
            f"(?P<{part}>{PLACEHOLDERS[f'<{part}>']})" if i % 2 else re.escape(part)
            for i, part in enumerate(_HOLE.split(metric.name))
        ),
        key,
    )
    assert found is not None
    return "k2rl_" + re.sub(r"\W+", "_", _HOLE.sub(r"\1", metric.name)), found.groupdict()


class PrometheusTracker:
    """Gauges of the process that runs the loop: a `rl.trackers.Tracker`. Ray must be up at the first `log`.

    Args:
        run: the run's name, a label of every gauge.
        folder: the run folder.
        refresh_seconds: between two settings of the same numbers.
    """

    def __init__(self, run: str, folder: Path, *, refresh_seconds: float = REFRESH_SECONDS) -> None:
        self._run = run
        self._refresh_seconds = refresh_seconds
        self._file = folder / "prometheus.json"
        self._gauges: dict[str, Gauge] = {}
        self._values: dict[str, float] = {}  # by name in metrics.jsonl
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="gauges", daemon=True)

    def log(self, row: Mapping[str, Any], step: int) -> None:
        """As `Tracker.log`."""
        with self._lock:
            for key, value in row.items():
                if value is None:
                    self._values.pop(key, None)
                elif gauge_of(key) is not None:
                    self._values[key] = float(value)
            self._set_all()
        if self._thread.ident is None:  # never started; one that has ended is left alone
            write_atomically(self._file, json.dumps(_targets(), indent=2) + "\n")
            self._thread.start()

    def _set_all(self) -> None:
        for key, value in self._values.items():
            named = gauge_of(key)
            assert named is not None
            name, labels = named
            if name not in self._gauges:
                self._gauges[name] = Gauge(name, _meaning(key), tag_keys=("run", *labels))
            self._gauges[name].set(value, {"run": self._run, **labels})

    def _refresh(self) -> None:
        """Nothing of a run hangs on it: what goes wrong in one turn may go well in the next."""
        while not self._is_closed.wait(self._refresh_seconds):
            with self._lock, contextlib.suppress(Exception):
                self._set_all()

    def samples(self, rows: Sequence[Sequence[Any]], step: int) -> None:
        """As `Tracker.samples`: texts are no gauges."""

    def close(self) -> None:
        """Set nothing any more."""
        self._is_closed.set()


def _targets() -> list[dict[str, Any]]:
    nodes = [node for node in ray.nodes() if node["Alive"]]
    targets = [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in nodes]
    return [{"targets": targets, "labels": {"job": "k2rl"}}]


def _meaning(key: str) -> str:
    metric = metric_of(key)
    assert metric is not None
    return f"{metric.meaning} [{metric.unit}]"
