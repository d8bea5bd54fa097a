"""Each engine's share of a cluster: what kind of devices it has, how large a bundle is. From its nodes, not their sum.

An engine of several GPUs (`engine.tensor_parallel`) has them in one bundle, which lies on one node; as many ranks of
the learner live in that bundle, one on each. On CPUs an engine's processes share them, and a bundle has one rank.

Two things go wrong where a cluster is taken for one large machine. The command may run on a head node without a GPU,
beside workers that have some: what counts is what the nodes of the bundles have. And a bundle lies on one node: half of
the CPUs of a head with 64 and a worker with 16 is 40, which the worker with the GPU never has.

Pure functions of a list of nodes; rl/actors.py asks Ray for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from configs.schema import Config
from rollout.engine.device import CPU, CUDA, DeviceProfile

__all__ = ["Bundle", "Node", "Spot", "bundle_of", "check_processes", "device_of", "num_bundles", "spots_of_ranks"]

Node = Mapping[str, float]
"""What a node has, by Ray's names: CPU, GPU, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What an engine and a rank of the learner take turns on, or one of them has for itself (`cluster.separate`)."""

    num_cpus: int
    """Of one node."""
    num_gpus: int
    """Of the same node: `engine.tensor_parallel`, or 0 where the cluster has none."""

    @property
    def resources(self) -> dict[str, float]:
        """As Ray takes them."""
        return {"CPU": float(self.num_cpus)} | ({"GPU": float(self.num_gpus)} if self.num_gpus else {})


def device_of(nodes: Sequence[Node]) -> DeviceProfile:
    """What engines run on: GPUs where any node has one, whatever the driver's machine has."""
    return CUDA if any(node.get("GPU", 0) >= 1 for node in nodes) else CPU


def num_bundles(config: Config, device: DeviceProfile) -> tuple[str, int]:
    """The setting that says how many bundles there are, and how many."""
    num_ranks = -(-config.learner.num_ranks // _ranks_of_bundle(config, device))
    numbers = {"engine.num_engines": config.engine.num_engines, "learner.num_ranks": num_ranks}
    if config.cluster.separate:
        return " + ".join(numbers), sum(numbers.values())
    return max(numbers.items(), key=lambda item: item[1])


class Spot(NamedTuple):
    """Where a rank of the learner lives; engine i has bundle i, and all its devices."""

    bundle: int
    device: int
    """Number of the one that it has of the bundle's."""


def spots_of_ranks(config: Config, device: DeviceProfile) -> list[Spot]:
    """Every rank's, side by side: they exchange most with their neighbours, and a bundle lies on one node."""
    first, each = config.engine.num_engines if config.cluster.separate else 0, _ranks_of_bundle(config, device)
    return [Spot(first + rank // each, rank % each) for rank in range(config.learner.num_ranks)]


def _ranks_of_bundle(config: Config, device: DeviceProfile) -> int:
    return config.engine.tensor_parallel if device.name == "cuda" else 1


def bundle_of(config: Config, nodes: Sequence[Node], *, whose: str = "the Ray cluster") -> Bundle:
    """The bundle of which each engine and each rank has one, on the nodes that a cluster has.

    Its CPUs are `cluster.cpus_per_bundle`, or as many as allow for so many bundles.

    Args:
        whose: nodes these are, in messages: a cluster's, or this machine as the only one.

    Raises:
        ValueError: the nodes have GPUs, but fewer than bundles; or too few CPUs beside them, or for the processes of an
            engine.
    """
    key, num = num_bundles(config, device_of(nodes))
    num_gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    if num_gpus and config.engine.tensor_parallel > 1:
        _check_room(config, nodes, num, whose)
    elif 0 < num_gpus < num:
        what = {"engine.num_engines": "engines", "learner.num_ranks": "ranks of the learner"}.get(key, "processes")
        lower = f"set {key} to {num_gpus} or less"
        if config.cluster.separate:
            ahead = " and rollout.steps_ahead = 0" if config.rollout.steps_ahead else ""
            lower = f"lower one of the two, or set cluster.separate = false{ahead}"
        raise ValueError(
            f"{whose} has {num_gpus} GPU(s), and {key} = {num} {what} need one each; "
            f"{lower}, or join a cluster with {num} (cluster.address)"
        )
    each = config.engine.tensor_parallel if num_gpus else 0
    used = [node for node in nodes if node.get("GPU", 0) >= 1] if num_gpus else nodes
    wanted = config.cluster.cpus_per_bundle
    largest = max((int(node.get("CPU", 0)) for node in used), default=0)
    for num_cpus in range(wanted or largest, 0, -1):
        if (room := _room(used, num_cpus, each)) >= num:
            check_processes(config, num_cpus)
            return Bundle(num_cpus=num_cpus, num_gpus=each)
        if wanted:
            break
    else:
        num_cpus, room = 1, _room(used, 1, each)
    cpus = " + ".join(f"{node.get('CPU', 0):g}" for node in used) or "no"
    where = " on its nodes with GPUs" if len(used) < len(nodes) else " on its nodes" if len(nodes) > 1 else ""
    raise ValueError(
        f"{whose} has {cpus} CPUs{where}, room for {room} bundles of {num_cpus} (cluster.cpus_per_bundle; a bundle "
        f"lies on one node), and {key} needs {num}; lower one of them"
    )


def check_processes(config: Config, num_cpus: int) -> None:
    """A bundle of so many CPUs has one for each process of its engine.

    Raises:
        ValueError: it has fewer.
    """
    if (size := config.engine.tensor_parallel) > num_cpus:
        raise ValueError(
            f"engine.tensor_parallel = {size}: an engine's processes want a CPU each, and its bundle has {num_cpus} "
            "(cluster.cpus_per_bundle, or the CPUs of a node by engine.num_engines or learner.num_ranks); lower "
            "engine.tensor_parallel, or give bundles more CPUs"
        )


def _check_room(config: Config, nodes: Sequence[Node], num: int, whose: str) -> None:
    """Nodes have GPUs for so many bundles of several."""
    size = config.engine.tensor_parallel
    gpus = [int(node["GPU"]) for node in nodes if node.get("GPU", 0) >= 1]
    if (room := sum(each // size for each in gpus)) < num:
        raise ValueError(
            f"{whose} has {' + '.join(map(str, gpus))} GPU(s), room for {room} bundles of engine.tensor_parallel = "
            f"{size} (an engine's lie on one node), and {num} are needed (engine.num_engines = "
            f"{config.engine.num_engines}; learner.num_ranks = {config.learner.num_ranks}, {size} to a bundle); lower "
            "one of the three, or join a cluster with more (cluster.address)"
        )


def _room(nodes: Sequence[Node], num_cpus: int, num_gpus: int) -> int:
    """Bundles that fit on nodes."""
    return sum(
        min(int(node.get("CPU", 0)) // num_cpus, int(node.get("GPU", 0)) // num_gpus if num_gpus else sys.maxsize)
        for node in nodes
    )
