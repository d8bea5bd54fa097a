"""The section of a config that says what people see of a run, and where its numbers go besides the run folder."""

from __future__ import annotations

from typing import Literal

from configs.base import NonNegative, Positive, Section

__all__ = ["ReportConfig"]


class ReportConfig(Section):
    """What people see."""

    wandb: Literal["auto", "off"] = "auto"
    """`auto`: online where a key is configured, else an offline folder in the run folder. `off`: none."""
    wandb_project: str = "k2rl"
    """Project name at wandb."""
    tensorboard: bool = False
    """Write TensorBoard's files into `tensorboard/` of the run folder, under the names of docs/metrics.md."""
    prometheus: bool = False
    """Serve them as gauges at the Ray nodes' metrics ports, which `prometheus.json` of the run folder lists
    (docs/metrics.md)."""
    tags: tuple[str, ...] = ()
    """Words to find the run by, at wandb and in tables of runs."""
    notes: str = ""
    """What the run is for, in a sentence: shown with it."""
    show_samples: NonNegative = 2
    """Samples printed with their rewards each time samples are shown."""
    show_every: Positive = 5
    """Steps between printed samples, and between tables of samples at wandb and TensorBoard."""
