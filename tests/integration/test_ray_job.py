"""`ray job submit` and `k2rl sweep --submit` against a head node of their own, with token authentication."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.harness import PATIENCE, ROOT, SHORT, Runs

RAY = str(Path(sys.executable).with_name("ray"))
DASHBOARD = re.compile(r"RAY_API_SERVER_ADDRESS='(http://127\.0\.0\.1:\d+)'")
"""In what `ray start` says when it has started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A running head node."""

    address: str
    environment: dict[str, str]

    def submit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            RAY,
            "job",
            "submit",
            "--address",
            self.address,
            "--working-dir",
            ".",
            "--",
            "python",
            "-m",
            "rl.train",
        ]
        deadline = time.monotonic() + PATIENCE
        while True:  # the dashboard listens before the node's agent, which takes jobs, has come up
            done = subprocess.run(
                [*command, *arguments], cwd=ROOT, env=self.environment, text=True, timeout=PATIENCE, check=False,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            if "No available agent to submit job" not in done.stdout or time.monotonic() > deadline:
                return done
            time.sleep(1.0)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    home = tmp_path_factory.mktemp("home")  # ray keeps its token under ~/.ray
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")  # what vLLM knows of models already
    environment = Runs().environment() | {
        "RAY_AUTH_MODE": "token", "HOME": str(home), "XDG_CACHE_HOME": caches, "PATH": path,
        "RAY_gcs_server_port_wait_time_s": str(int(PATIENCE)),  # half a minute unless told
    }  # fmt: skip
    subprocess.run(
        [RAY, "get-auth-token", "--generate"], env=environment, check=True, capture_output=True, timeout=PATIENCE
    )
    command = [
        # each takes a port that is free, and tells it: one that is chosen here another program could take before
        RAY, "start", "--head", "--block", "--port=0", "--dashboard-port=0", "--dashboard-agent-listen-port=0",
        "--dashboard-host=127.0.0.1",
        "--num-cpus=2", f"--object-store-memory={300 << 20}", "--disable-usage-stats",
    ]  # fmt: skip
    log = (home / "head.log").open("w+")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while (told := DASHBOARD.search((home / "head.log").read_text())) is None:
            assert process.poll() is None and time.monotonic() < deadline, (home / "head.log").read_text()
            time.sleep(0.5)
        yield Head(address=told[1], environment=environment)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE)
        log.close()


def test_a_submitted_job_trains_and_leaves_its_run_folder(head: Head, tmp_path: Path) -> None:
    run_dir = tmp_path / "job"
    done = head.submit("configs/tiny_cpu.toml", *SHORT, "num_steps=2", f"run_dir={run_dir}")
    assert done.returncode == 0, done.stdout
    assert len(Runs.rows(run_dir)) == 2
    assert (run_dir / "export" / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_sweep_submits_its_runs_as_jobs_one_after_another_and_goes_on_where_some_are_done(
    head: Head, tmp_path: Path
) -> None:
    assert head.submit("--help").returncode == 0  # from here on the head takes jobs
    short = [item for item in SHORT if not item.startswith(("num_steps", "warmup.num_steps", "eval.num_tasks"))]
    command = [
        sys.executable, "-m", "rl.sweep", str(ROOT / "configs" / "exp" / "no_ptx.toml"), *short, "num_steps=1",
        "warmup.num_steps=0", "eval.num_tasks=4", "ptx.source={gym='arithmetic'}", "--output", str(tmp_path),
        "--submit", head.address, "--json",
    ]  # fmt: skip

    def sweep(*seeds: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, f"seed={','.join(seeds)}"], cwd=ROOT, env=head.environment, text=True, timeout=2 * PATIENCE,
            capture_output=True, check=False,
        )  # fmt: skip

    first = sweep("0", "1")
    assert first.returncode == 0, first.stdout + first.stderr
    rows = json.loads(first.stdout[first.stdout.index("[\n") :])
    assert [(row["name"], row["state"]) for row in rows] == [("no_ptx-seed0", "done"), ("no_ptx-seed1", "done")]
    assert {json.loads((tmp_path / row["name"] / "config.json").read_text())["seed"] for row in rows} == {0, 1}
    again = sweep("0", "1")
    assert again.returncode == 0 and again.stderr.count("done already") == 2, again.stderr


@pytest.mark.parametrize(
    ("override", "reason"),
    [("learner.learning_rate=1", "learner.lr"), ("run_dir=relative/run", "absolute")],
    ids=["unknown key", "relative run folder"],
)
def test_a_job_with_a_broken_config_fails_before_any_actor_starts_with_one_clear_line(
    head: Head, override: str, reason: str
) -> None:
    done = head.submit("configs/tiny_cpu.toml", override)
    assert done.returncode != 0
    said = [line for line in done.stdout.splitlines() if "not started:" in line]
    assert said and reason in said[0], done.stdout
    assert "Traceback" not in done.stdout
