"""Where a run's processes live: Ray, a placement group on it, and actors in its bundles.

Bundle i is one engine's share of the devices, and rank i of the learner lives in it beside that engine (colocated). The
two take turns: each asks Ray for half of the bundle, and uses all of it. With more ranks than engines, or fewer, some
bundles have one of the two. A bundle of several GPUs has an engine on all of them and a rank on each, which ask Ray for
nothing of it: they are told which GPUs they have (`CUDA_VISIBLE_DEVICES`) by a task that asked for all.
How large a bundle is, is in rl/bundles.py. With `rl/calls.py` this is all that knows how processes live on Ray; learner
and engines are plain classes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from configs.schema import Config
from rl.bundles import Bundle, Node, bundle_of, device_of, num_bundles
from rl.calls import Actor, ShelfOf, first_line
from rl.faults import DeadlineExceeded
from rl.folders import Folders, Shelf
from rl.placed import placed
from rl.processes import Place
from rollout.engine.device import DeviceProfile

__all__ = ["ALLOCATOR", "SPIN_COUNT", "Actors", "nodes_of_running_cluster", "on_ray"]

ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""glibc keeps freed memory instead of returning it: activations of every micro-batch would be faulted in again. It does
so in its main heap alone, so all threads share that one: in heaps of their own, a swap faulted in 300 MB every time."""
SPIN_COUNT = "20000"
"""How long a thread of libgomp spins at a barrier before it sleeps (GOMP_SPINCOUNT): about half a millisecond. The
default, 300,000, collapses as soon as another process wants a core. On 2 cores of an AMD EPYC whose speed varies by a
third, a forward pass of the learner took 1.7 to 2.0 s beside two busy loops, by default 2.5 to 6.8 s (beside more, 17
to 19 s); on quiet cores 0.9 s, by default 0.7 s. A quiet engine drew 266 to 296 tokens/s, by default 153 to 232.
"""

_OWN_CLUSTER = {
    "worker_niceness": 0,  # Ray's 15 would starve the engines beside their own driver
    "prestart_worker_first_driver": False,  # a process for each CPU, of which a run's actors, with variables, use none
}
_LISTEN_SECONDS = 10.0
"""Within which a running cluster's head takes a connection: its kernel does, however busy the head is."""


class Actors:
    """Reserves the devices of a run and starts actors on them: a `rl.processes.StartsProcesses`.

    Args:
        config: the resolved config.
        logs: folder of the actors' output; None: it stays with Ray.
    """

    def __init__(self, config: Config, *, logs: Path | None = None) -> None:
        self.config = config
        self._logs = logs
        self.place = Place()
        self._group: PlacementGroup | None = None
        self._started: list[Actor] = []
        self._ray = contextlib.ExitStack()
        self._folders: Callable[[], Folders] = Folders
        self._nodes: list[Node] = []
        self._bundle = Bundle(num_cpus=0, num_gpus=0)

    @property
    def device(self) -> DeviceProfile:
        """That of the bundles, which the driver's machine may not have."""
        return device_of(self._nodes)

    @property
    def host(self) -> str:
        return ray.util.get_node_ip_address()

    async def __aenter__(self) -> Actors:
        try:
            self._ray.enter_context(on_ray(self.config))
            await self._reserve()
            self._reach()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        for actor in self._started:
            actor.kill()
        self._started = []
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None
        self._ray.close()

    async def _reserve(self) -> None:
        """One bundle for an engine and its ranks, or for each: its share of the CPUs, and GPUs where there are any."""
        self._nodes = _nodes()
        is_alone = _address(self.config) is None and len(self._nodes) == 1
        whose = "this machine" if is_alone else "the Ray cluster"
        self._bundle = bundle_of(self.config, self._nodes, whose=whose)
        bundle, (_, num) = self._bundle.resources, num_bundles(self.config, self.device)
        group = placement_group([bundle] * num, strategy="PACK")
        try:
            await asyncio.wait_for(asyncio.wrap_future(group.ready().future()), self.config.cluster.start_seconds)
        except TimeoutError:
            remove_placement_group(group)
            raise ValueError(
                f"{whose} did not free {num} bundles of {bundle} within {self.config.cluster.start_seconds:g} "
                f"s (cluster.start_seconds): it has {ray.cluster_resources()}; is another run on it?"
            ) from None
        self._group = group

    def _reach(self) -> None:
        """Where bundles lie on other nodes than this one, have processes on those reach its folders."""
        here = ray.get_runtime_context().get_node_id()
        if set(placement_group_table(self._group)["bundles_to_node_id"].values()) == {here}:
            return  # for good: a bundle moves when its node dies, and then this process does
        where = NodeAffinitySchedulingStrategy(here, soft=False)
        shelf = (
            ray.remote(Shelf)
            .options(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=where)
            .remote()
        )
        limits = self.config.cluster
        self._folders = ShelfOf(shelf, node=here, seconds=max(limits.start_seconds, limits.save_seconds))

    def start(
        self, kind: type, *args: Any, name: str, bundle: int, device: int | None = None,
        environment: Mapping[str, str], max_concurrency: int = 1,
    ) -> Actor:  # fmt: skip
        assert self._group is not None
        where = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=bundle)
        share, num_threads, visible = 1 if self.config.cluster.separate else 2, self._bundle.num_cpus, None
        if (num_gpus := self._bundle.num_gpus) > 1:  # Ray halves one GPU but not several, so it is asked for nothing
            share = math.inf
            asks = ray.remote(_visible).options(
                num_cpus=0, num_gpus=num_gpus, max_retries=-1, scheduling_strategy=where
            )
            visible = asks.remote(device)
            num_threads = num_threads if device is None else max(num_threads // num_gpus, 1)
        options = {
            "num_cpus": self._bundle.num_cpus / share,
            "num_gpus": num_gpus / share,
            "max_concurrency": max_concurrency,
            "max_restarts": 0,
            "scheduling_strategy": where,
            "runtime_env": {
                "env_vars": {
                    **ALLOCATOR,
                    "OMP_NUM_THREADS": str(num_threads),
                    "GOMP_SPINCOUNT": SPIN_COUNT,
                    "TOKENIZERS_PARALLELISM": "false",
                    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                    "PYTHONHASHSEED": "0",
                    **environment,
                }
            },
        }
        log = None if self._logs is None else self._logs / f"{name.replace(' ', '_')}.log"
        handle = ray.remote(placed(kind, log=log)).options(**options).remote(self._folders, visible, *args)
        actor = Actor(
            name, handle, limits=self.config.cluster, place=self.place, lack=partial(self._lack, self._group, bundle)
        )
        self._started.append(actor)
        return actor

    def _lack(self, group: PlacementGroup, bundle: int) -> str:
        """Why what is to live in a bundle does not start, where its node was lost and no other has room for it."""
        if placement_group_table(group)["state"] == "CREATED":
            return ""
        return (
            f"no node of the cluster has room for its bundle ({bundle}, {self._bundle.resources}), whose node was "
            "lost: mend that or add another, and run the same command again"
        )

    def stop(self, process: Actor) -> None:
        process.kill()
        self._started.remove(process)


@contextlib.contextmanager
def on_ray(config: Config) -> Iterator[None]:
    """On the job's cluster, or on one that ends with this process; on Ray already, it stays as it is.

    Around several `Actors`, one after another, each of which would start and end a Ray of its own.
    """
    if ray.is_initialized():
        yield
        return
    try:
        if (address := _address(config)) is not None:
            _join(address)
        else:
            _start_ray(config)
        yield
    finally:
        if ray.is_initialized():
            ray.shutdown()


def nodes_of_running_cluster(config: Config) -> list[Node]:
    """What each node has of the cluster that the run will join; starts nothing on it.

    Raises:
        ValueError: no cluster answers at the address.
    """
    _join(_address(config) or "auto")
    try:
        return _nodes()
    finally:
        ray.shutdown()


def _nodes() -> list[Node]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _visible(device: int | None) -> str:
    """In a task that has all GPUs of a bundle: what `CUDA_VISIBLE_DEVICES` is for all of them, or for one."""
    gpus = sorted(map(str, ray.get_gpu_ids()))  # the variable itself, some nodes are told not to set
    return ",".join(gpus if device is None else [gpus[device]])


def _address(config: Config) -> str | None:
    return config.cluster.address or os.environ.get("RAY_ADDRESS")


def _join(address: str) -> None:
    """Connect to a running cluster.

    Its port is asked first: where nobody listens, Ray prints warnings for minutes before it gives up.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdigit():
            socket.create_connection((host.strip("[]"), int(port)), timeout=_LISTEN_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"no Ray cluster answers at {address} (cluster.address, or RAY_ADDRESS): {first_line(error)}"
        ) from error


def _start_ray(config: Config) -> None:
    """Start a cluster that ends with this process.

    Ray gives its node 30 s to register, which no setting of Ray's raises. A busy machine may need longer: it is tried
    again until `cluster.start_seconds` have passed.
    """
    deadline = time.monotonic() + config.cluster.start_seconds
    while True:
        try:
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=config.cluster.object_store_bytes,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _system_config=_OWN_CLUSTER,
            )
            return
        except Exception as error:  # Ray raises no narrower type here
            if "timed out during startup" not in str(error):
                raise
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"Ray's node did not register within {config.cluster.start_seconds:g} s, in phase 'starting'; is "
                    "the machine busy? If that is too short, raise cluster.start_seconds"
                ) from error
            ray.shutdown()
