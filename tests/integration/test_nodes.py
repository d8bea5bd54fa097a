"""Several Ray nodes, each in a network namespace, a run folder on the driver's alone: what travels, what is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import PATIENCE, Runs, assert_same_run, wait_for, wait_for_rows
from tests.integration.nodes import IPV6, Nodes, nodes, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

SETTINGS = (
    "num_steps=2", "checkpoint.every=1", "warmup.num_steps=2", "eval.num_tasks=4", "engine.num_engines=2",
    "cluster.cpus_per_bundle=1",
)  # fmt: skip


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nodes]:
    with nodes(tmp_path, hidden="run", **request.param) as made:
        yield made


@pytest.mark.parametrize("cluster", [{"a": 2, "b": 2}], indirect=True, ids=["two-nodes"])
def test_weights_come_to_a_node_once_whatever_engines_it_has_and_to_the_drivers_never(
    cluster: Nodes, tmp_path: Path
) -> None:
    """Four engines on two nodes, the learner on one of them, the driver on a third: two engines share what comes."""
    num_bytes, num_versions = 32 << 20, 3
    before = {name: cluster.received(name) for name in ("head", "a", "b")}
    numbers = map(str, (4, num_bytes, num_versions))
    process = cluster.start("head", [sys.executable, "-m", "tests.integration.light_cluster", str(tmp_path), *numbers])
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    flipped = json.loads(output.splitlines()[-1])
    assert flipped[0] is None and all(frac > 0.5 for frac in flipped[1:])  # of random codes, nearly all but one in 16
    came = {name: cluster.received(name) - num for name, num in before.items()}
    total, (less, more) = num_versions * num_bytes, sorted((came["a"], came["b"]))
    assert total < more < 1.5 * total, came  # not twice, for two engines
    assert less < 0.5 * total and came["head"] < 0.5 * total, came


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cluster", [{"a": 1, "b": 1}], indirect=True, ids=["two-nodes"])
def test_a_run_outlives_a_node_whose_place_another_takes(runs: Runs, cluster: Nodes, tmp_path: Path) -> None:
    """The node with an engine alone; what the learner's node holds is brought back by a checkpoint, as elsewhere."""
    process = cluster.start("head", runs.command(tmp_path / "run", SETTINGS))
    wait_for_rows(process, runs, tmp_path / "run", 1)
    with_learner, other = sorted("ab", key=lambda name: "ray::Learner" not in cluster.actors(name))
    assert sorted(cluster.actors(with_learner)) == ["ray::EngineProcess", "ray::Learner"]
    assert cluster.actors(other) == ["ray::EngineProcess"]
    cluster.kill(other)
    cluster.add("c", num_cpus=1)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "rebuilding" in output and len(runs.rows(tmp_path / "run")) == 2
    assert (tmp_path / "run" / "export" / "model.safetensors").is_file()
    assert cluster.files(with_learner) == cluster.files("c") == []
    for log in ("learner", "engine_0", "engine_1"):
        assert "--- process" in (tmp_path / "run" / "logs" / f"{log}.log").read_text()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cluster", [{"a": 1, "b": 1}], indirect=True, ids=["one-and-a-spare"])
def test_a_run_outlives_the_node_that_has_all_of_it_but_the_driver(runs: Runs, cluster: Nodes, tmp_path: Path) -> None:
    """Learner, engine, and the only copy of what engines serve."""
    process = cluster.start("head", runs.command(tmp_path / "run", (*SETTINGS, "engine.num_engines=1")))
    wait_for_rows(process, runs, tmp_path / "run", 1)
    (used,) = (name for name in "ab" if cluster.actors(name))
    assert sorted(cluster.actors(used)) == ["ray::EngineProcess", "ray::Learner"]
    cluster.kill(used)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "rebuilding" in output and "going on from" in output and len(runs.rows(tmp_path / "run")) == 2
    assert (tmp_path / "run" / "export" / "model.safetensors").is_file()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cluster", [{"a": 1, "b": 1}], indirect=True, ids=["two-nodes"])
def test_a_run_that_may_not_rebuild_ends_with_what_it_lost(runs: Runs, cluster: Nodes, tmp_path: Path) -> None:
    settings = (*SETTINGS, "num_steps=50", "cluster.max_restarts=0")
    process = cluster.start("head", runs.command(tmp_path / "run", settings))
    wait_for_rows(process, runs, tmp_path / "run", 1)
    cluster.kill(next(name for name in "ab" if "ray::Learner" in cluster.actors(name)))
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "Traceback" not in output
    last = output.strip().splitlines()[-1]
    assert last.startswith("run failed: ActorLost: ") and " died" in last


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("cluster", [{"a": 1, "b": 1}], indirect=True, ids=["one-and-a-spare"])
def test_a_process_that_sees_nothing_of_the_run_folder_has_its_files_also_where_its_link_was_cut(
    cluster: Nodes, tmp_path: Path
) -> None:
    """Without models: a learner on one node reads, saves and prints; its link is cut, and one on the other goes on."""
    words = [sys.executable, "-m", "tests.integration.far_learner", str(tmp_path / "run")]
    process = cluster.start("head", words, stdin=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None

    def save() -> str:
        print(file=process.stdin, flush=True)
        said = (line.strip() for line in process.stdout)
        return next(line for line in said if line.startswith(("saved", "learner")))  # Ray says things too

    assert save() == "saved theta" and save() == "saved thetatheta"
    (lost,) = (name for name in "ab" if cluster.actors(name))
    cluster.cut(lost)
    told = save()
    assert told.startswith("learner.save in phase 'starting' of step 0: its node " + cluster.address(lost)), told
    assert save() == "saved thetatheta", "from the last checkpoint, by another process"
    assert cluster.actors(lost), "behind the link it lives"
    cluster.mend(lost)
    wait_for(lambda: not cluster.actors(lost), process)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    files = {str(file.relative_to(tmp_path / "run")) for file in (tmp_path / "run").rglob("*") if file.is_file()}
    assert files == {
        "base/weights", "step_0/learner.pt", "step_1/learner.pt", "step_2/learner.pt", "export/model.safetensors",
        "logs/learner.log",
    }  # fmt: skip
    (other,) = (name for name in "ab" if name != lost)
    assert cluster.files(other) == []


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "cluster", [{"a": 1, "b": 1}, {"a": 1, "b": 1, "network": IPV6}], indirect=True, ids=["two-nodes", "ipv6-alone"]
)
def test_ranks_on_two_nodes_that_see_nothing_of_the_run_folder_fill_one_checkpoint_and_read_it_back(
    cluster: Nodes, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = cluster.start("head", [sys.executable, "-m", "tests.integration.far_ranks", str(run)])
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    first, second = (
        {file.name: file.read_bytes() for file in (run / name / "learner").iterdir()} for name in ("first", "second")
    )
    assert sorted(first) == [".metadata", "__0_0.distcp", "__1_0.distcp"]
    for rank in range(2):
        assert first[f"__{rank}_0.distcp"] == second[f"__{rank}_0.distcp"]
    assert (run / "int4" / "model.safetensors").is_file() and (run / "int4" / "config.json").is_file()
    assert sorted(log.name for log in (run / "logs").iterdir()) == ["learner_rank_0.log", "learner_rank_1.log"]
    assert [cluster.files(name) for name in "ab"] == [[], []]


CUT = (*SETTINGS, "num_steps=3", "cluster.start_seconds=120")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cluster", [{"a": 1, "b": 1, "c": 1}], indirect=True, ids=["two-and-a-spare"])
def test_a_run_equals_one_without_a_fault_where_the_learners_link_was_cut_and_came_back(
    runs: Runs, cluster: Nodes, tmp_path: Path
) -> None:
    """Its processes live on behind the link, and find it mended when the run has others in their place."""
    process = cluster.start("head", runs.command(tmp_path / "run" / "cut", CUT))
    wait_for_rows(process, runs, tmp_path / "run" / "cut", 1)
    (lost,) = (name for name in "abc" if "ray::Learner" in cluster.actors(name))
    cluster.cut(lost)
    others = [name for name in "abc" if name != lost]
    wait_for(lambda: any("ray::Learner" in cluster.actors(name) for name in others), process)
    assert "ray::Learner" in cluster.actors(lost)
    cluster.mend(lost)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert f"its node {cluster.address(lost)} died or cannot be reached" in output and "going on from" in output
    wait_for(lambda: cluster.actors(lost) == [])

    straight = cluster.start("head", runs.command(tmp_path / "run" / "straight", CUT))
    output, _ = straight.communicate(timeout=PATIENCE)
    assert straight.returncode == 0, output
    assert_same_run(runs, tmp_path / "run" / "cut", tmp_path / "run" / "straight", num_steps=3)
    assert [cluster.files(name) for name in others] == [[], []]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("cluster", [{"a": 1, "b": 1}], indirect=True, ids=["two-nodes"])
def test_a_run_without_room_for_what_was_cut_off_ends_with_actor_node_and_what_to_do(
    runs: Runs, cluster: Nodes, tmp_path: Path
) -> None:
    process = cluster.start("head", runs.command(tmp_path / "run", (*CUT, "num_steps=50", "cluster.max_restarts=1")))
    wait_for_rows(process, runs, tmp_path / "run", 1)
    (lost,) = (name for name in "ab" if "ray::Learner" not in cluster.actors(name))
    cluster.cut(lost)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "Traceback" not in output
    assert f": its node {cluster.address(lost)} died or cannot be reached; mend it or give" in output
    last = output.strip().splitlines()[-1]
    assert "engine 1.begin in phase 'generate'" in last and "no node of the cluster has room" in last
    assert "mend that or add another, and run the same command again" in last
