"""Each engine's share of a cluster, from a list of its nodes."""

from __future__ import annotations

from itertools import product

import pytest

from configs.schema import Config
from rl.bundles import Bundle, Node, Spot, bundle_of, device_of, num_bundles, spots_of_ranks
from rollout.engine.device import CPU, CUDA

HEAD: Node = {"CPU": 64.0, "memory": 1e12, "node:__internal_head__": 1.0}
"""A node without a GPU, where commands are given."""
WORKER: Node = {"CPU": 16.0, "GPU": 8.0, "accelerator_type:H100": 1.0}


def with_engines(num_engines: int, cpus: int | None = None, num_ranks: int = 1) -> Config:
    return Config.model_validate(
        {
            "model": {"source": "tiny"},
            "gyms": [{"name": "arithmetic"}],
            "engine": {"num_engines": num_engines},
            "learner": {"num_ranks": num_ranks},
            "cluster": {"cpus_per_bundle": cpus},
        }
    )


def test_engines_run_on_gpus_where_any_node_has_one_whatever_the_head_has() -> None:
    assert device_of([HEAD, WORKER]) is CUDA
    assert device_of([HEAD]) is CPU and device_of([HEAD, {"CPU": 8.0, "GPU": 0.0}]) is CPU


@pytest.mark.parametrize(("num_engines", "gpus", "each"), [(1, 0, 0), (4, 0, 0), (1, 1, 1), (4, 4, 1), (4, 8, 1)])
def test_engines_have_a_gpu_each_where_there_are_any(num_engines: int, gpus: int, each: int) -> None:
    bundle = bundle_of(with_engines(num_engines), [{"CPU": 8.0, "GPU": float(gpus)} if gpus else {"CPU": 8.0}])
    assert bundle == Bundle(num_cpus=8 // num_engines, num_gpus=each)
    assert bundle.resources == {"CPU": 8.0 / num_engines} | ({"GPU": 1.0} if each else {})


@pytest.mark.parametrize(("num_engines", "gpus"), [(2, [1.0]), (4, [2.0, 1.0])])
def test_fewer_gpus_than_engines_are_refused_with_both_numbers(num_engines: int, gpus: list[float]) -> None:
    told = rf"has {sum(gpus):g} GPU\(s\), and engine\.num_engines = {num_engines} engines need one each; "
    with pytest.raises(ValueError, match=told):
        bundle_of(with_engines(num_engines), [HEAD, *({"CPU": 8.0, "GPU": one} for one in gpus)])


def test_a_bundle_is_no_larger_than_what_the_nodes_with_gpus_have() -> None:
    assert bundle_of(with_engines(1), [HEAD, WORKER]).num_cpus == 16  # of 80 in all
    assert bundle_of(with_engines(8), [HEAD, WORKER]).num_cpus == 2
    assert bundle_of(with_engines(1, num_ranks=16), [HEAD, WORKER, WORKER]).num_cpus == 2
    with pytest.raises(ValueError, match=r"has 16 CPUs on its nodes with GPUs, room for 5 bundles of 3 "):
        bundle_of(with_engines(8, cpus=3), [HEAD, WORKER])


def test_cpus_are_shared_out_among_the_engines_and_too_few_are_refused() -> None:
    assert bundle_of(with_engines(2), [{"CPU": 5.0}]).num_cpus == 2
    assert bundle_of(with_engines(2, cpus=1), [{"CPU": 5.0}]).num_cpus == 1
    told = r"^this machine has 5 CPUs, room for 1 bundles of 3 .* engine\.num_engines needs 2; lower"
    with pytest.raises(ValueError, match=told):
        bundle_of(with_engines(2, cpus=3), [{"CPU": 5.0}], whose="this machine")
    told = r"^the Ray cluster has 1 \+ 1 CPUs on its nodes, room for 2 bundles of 1 .*num_engines needs 3;"
    with pytest.raises(ValueError, match=told):
        bundle_of(with_engines(3), [{"CPU": 1.0}, {"CPU": 1.0}])
    with pytest.raises(ValueError, match="has no CPUs, room"):
        bundle_of(with_engines(1), [])


def test_an_engines_processes_want_a_cpu_each_of_its_bundle() -> None:
    config = with_engines(2)
    config = config.model_copy(update={"engine": config.engine.model_copy(update={"tensor_parallel": 3})})
    assert bundle_of(config, [{"CPU": 6.0}]).num_cpus == 3
    told = r"^engine\.tensor_parallel = 3: .* its bundle has 2 \(cluster\.cpus_per_bundle, .*engine\.num_engines"
    with pytest.raises(ValueError, match=told):
        bundle_of(config, [{"CPU": 5.0}])


def test_bundles_are_the_largest_that_fit_on_nodes_and_not_in_their_sum() -> None:
    """Against a second method: nodes are filled with bundles one by one."""
    for first, second, num in product(range(1, 9), range(1, 9), range(1, 5)):
        if first + second < num:
            continue
        found = bundle_of(with_engines(num), [{"CPU": float(first)}, {"CPU": float(second)}]).num_cpus
        assert placed([first, second], found) >= num
        assert placed([first, second], found + 1) < num


def placed(free: list[int], num_cpus: int) -> int:
    """Bundles that nodes take, each put where most is free."""
    num, left = 0, sorted(free)
    while left[-1] >= num_cpus:
        left[-1] -= num_cpus
        left.sort()
        num += 1
    return num


def test_engines_and_ranks_with_bundles_of_their_own_need_as_many_as_both() -> None:
    shared = with_engines(3, num_ranks=2)
    apart = shared.model_copy(update={"cluster": shared.cluster.model_copy(update={"separate": True})})
    assert bundle_of(shared, [{"CPU": 15.0}]).num_cpus == 5 and bundle_of(apart, [{"CPU": 15.0}]).num_cpus == 3
    assert spots_of_ranks(shared, CPU) == spots_of_ranks(shared, CUDA) == [Spot(0, 0), Spot(1, 0)]
    assert spots_of_ranks(apart, CPU) == spots_of_ranks(apart, CUDA) == [Spot(3, 0), Spot(4, 0)]
    told = r"4 GPU\(s\), and engine.num_engines \+ learner.num_ranks = 5 processes .* cluster.separate = false, or join"
    with pytest.raises(ValueError, match=told):
        bundle_of(apart, [{"CPU": 15.0, "GPU": 4.0}])
    ahead = apart.model_copy(update={"rollout": apart.rollout.model_copy(update={"steps_ahead": 1})})
    with pytest.raises(ValueError, match=r"set cluster.separate = false and rollout.steps_ahead = 0, or join"):
        bundle_of(ahead, [{"CPU": 15.0, "GPU": 4.0}])


def of_two_gpus(*, num_ranks: int = 1, separate: bool = False) -> Config:
    """Two engines of two processes."""
    config = with_engines(2, num_ranks=num_ranks)
    engine = config.engine.model_copy(update={"tensor_parallel": 2})
    return config.model_copy(
        update={"engine": engine, "cluster": config.cluster.model_copy(update={"separate": separate})}
    )


def test_an_engine_of_several_gpus_has_them_in_one_bundle_with_a_rank_on_each() -> None:
    config = of_two_gpus(num_ranks=3)
    bundle = bundle_of(config, [HEAD, WORKER])
    assert bundle == Bundle(num_cpus=8, num_gpus=2) and bundle.resources == {"CPU": 8.0, "GPU": 2.0}
    assert spots_of_ranks(config, CUDA) == [Spot(0, 0), Spot(0, 1), Spot(1, 0)]
    assert num_bundles(of_two_gpus(num_ranks=7), CUDA) == ("learner.num_ranks", 4)
    assert num_bundles(of_two_gpus(num_ranks=4), CUDA) == ("engine.num_engines", 2)
    apart = of_two_gpus(num_ranks=3, separate=True)
    assert num_bundles(apart, CUDA)[1] == 4 and bundle_of(apart, [WORKER]).num_cpus == 4
    assert spots_of_ranks(apart, CUDA) == [Spot(2, 0), Spot(2, 1), Spot(3, 0)]


def test_on_a_cpu_the_processes_of_an_engine_share_a_bundle_with_one_rank() -> None:
    config = of_two_gpus(num_ranks=3)
    assert bundle_of(config, [{"CPU": 12.0}]) == Bundle(num_cpus=4, num_gpus=0)
    assert spots_of_ranks(config, CPU) == [Spot(0, 0), Spot(1, 0), Spot(2, 0)]


def test_gpus_of_several_nodes_are_no_bundle_of_one() -> None:
    assert bundle_of(of_two_gpus(), [{"CPU": 8.0, "GPU": 2.0}] * 2).num_gpus == 2
    told = (
        r"^the Ray cluster has 3 \+ 1 GPU\(s\), room for 1 bundles of engine\.tensor_parallel = 2 \(.* one node\), and "
        r"2 are needed \(engine\.num_engines = 2; learner\.num_ranks = 1, "
    )
    with pytest.raises(ValueError, match=told):
        bundle_of(of_two_gpus(), [HEAD, {"CPU": 8.0, "GPU": 3.0}, {"CPU": 8.0, "GPU": 1.0}])
