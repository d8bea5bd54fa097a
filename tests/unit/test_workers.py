"""How many tests run at a time, from what a machine and its container show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers import num_workers


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(("cores", "unit", "every"), [(1, 1, 2), (2, 2, 3), (3, 3, 4), (64, 4, 4)])
def test_unit_tests_have_a_worker_a_core_and_all_tests_one_more_and_four_at_most(
    tmp_path: Path, cores: int, unit: int, every: int
) -> None:
    assert num_workers(with_memory=False, cores=cores, root=tmp_path) == unit
    assert num_workers(with_memory=True, cores=cores, root=tmp_path) == every, "memory is not told"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/meminfo": "MemTotal: 99 kB\nMemAvailable: 13000000 kB\n"}, 3),
        ({"proc/meminfo": "MemAvailable: 1000 kB\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 3),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, 4),
        ({"proc/meminfo": "MemAvailable: 99000000 kB\n", "sys/fs/cgroup/memory.max": "9000000000\n",
          "sys/fs/cgroup/memory.current": "500000000\n"}, 2),
        ({"sys/fs/cgroup/memory.max": "9000000000\n", "sys/fs/cgroup/memory.current": "8900000000\n",
          "sys/fs/cgroup/memory.stat": "anon 500000000\ninactive_file 8400000000\nactive_file 0\n"}, 2),
        ({"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "5\n"}, 4),
    ],
)  # fmt: skip
def test_memory_and_a_containers_limits_count(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert num_workers(with_memory=True, cores=8, root=machine(tmp_path, files)) == expected
