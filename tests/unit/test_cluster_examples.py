"""The examples of clusters parse, name settings and files that exist, and ask for what a run asks for."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from configs.load import load_config

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "cluster"


def read(name: str) -> dict:
    return pytest.importorskip("yaml").safe_load((FOLDER / name).read_text())


def checked_command(words: list[str]) -> None:
    """`python -m rl.train ...` with files and settings of this project."""
    assert words[:3] == ["python", "-m", "rl.train"]
    files = [ROOT / word for word in words[3:] if "=" not in word]
    assert files
    load_config(files, [word for word in words[3:] if "=" in word])


def test_the_rayjob_runs_a_config_of_the_project_on_as_many_cpus_as_its_workers_have() -> None:
    job = read("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    words = shlex.split(job["spec"]["entrypoint"])
    checked_command(words)
    assert pytest.importorskip("yaml").safe_load(job["spec"]["runtimeEnvYAML"])["working_dir"] == "/app"
    (group,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert f"cluster.cpus_per_bundle={container['resources']['requests']['cpu']}" in words
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    for spec in (job["spec"]["rayClusterSpec"]["headGroupSpec"], group):
        pod = spec["template"]["spec"]
        mounts = {mount["name"] for one in pod["containers"] for mount in one["volumeMounts"]}
        assert mounts == {volume["name"] for volume in pod["volumes"]} == {"data", "shm"}


def test_ray_up_starts_a_head_and_workers_that_need_the_token() -> None:
    cluster = read("ray_up.yaml")
    assert cluster["provider"]["type"] == "local"
    assert cluster["min_workers"] == cluster["max_workers"] == len(cluster["provider"]["worker_ips"])
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert any("RAY_AUTH_MODE=token" in command and "ray start" in command for command in cluster[key])
    text = (FOLDER / "ray_up.yaml").read_text()
    (told,) = re.findall(r"-- (python -m rl\.train .*?)\n# Every", text, flags=re.S)
    checked_command(shlex.split(told.replace("\\\n#", " ")))


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_slurm_script_is_a_script_and_its_example_a_run() -> None:
    subprocess.run(["bash", "-n", FOLDER / "slurm.sh"], check=True)
    text = (FOLDER / "slurm.sh").read_text()
    (told,) = re.findall(r"^#   sbatch slurm\.sh (.*)$", text, flags=re.M)
    checked_command(["python", "-m", "rl.train", *shlex.split(told), "cluster.cpus_per_bundle=16"])
    assert "#SBATCH --cpus-per-task=16" in text


def test_the_gpu_config_lies_over_the_cpu_one() -> None:
    config = load_config([ROOT / "configs/smollm2_cpu.toml", ROOT / "configs/smollm2_gpu.toml"])
    assert config.name == "smollm2_gpu" and config.engine.max_num_seqs == 512
