"""What a job uses of its folder, where that is on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gyms.sandbox.inside import usage

ON_DISK = {"has_namespaces": False}


def test_a_folder_has_outgrown_its_limit_where_it_holds_more_than_that_and_than_before(tmp_path: Path) -> None:
    spec: dict[str, Any] = {"folder": str(tmp_path), "file_bytes": 1 << 20}
    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    held = usage.of_folder(spec, ON_DISK)
    assert held == (2 << 20, 2), "a folder counts as one of its files"
    assert usage.has_outgrown(spec, ON_DISK)
    assert not usage.has_outgrown(spec, ON_DISK, held)
    (tmp_path / "more").write_bytes(b"x")
    assert usage.has_outgrown(spec, ON_DISK, held)
    (tmp_path / "large").write_bytes(b"x" * (1 << 19))
    assert not usage.has_outgrown(spec, ON_DISK, held) and not usage.has_outgrown(spec, ON_DISK)


def test_files_without_content_outgrow_a_folder_too(tmp_path: Path) -> None:
    spec: dict[str, Any] = {"folder": str(tmp_path), "file_bytes": 1 << 20}
    for number in range(usage.MAX_FILES):
        (tmp_path / f"{number}").touch()
    held = usage.of_folder(spec, ON_DISK)
    assert held == (0, usage.MAX_FILES + 1)
    assert usage.has_outgrown(spec, ON_DISK) and not usage.has_outgrown(spec, ON_DISK, held)
    (tmp_path / "one more").touch()
    assert usage.has_outgrown(spec, ON_DISK, held)


def test_a_memory_file_system_of_the_job_s_own_is_not_looked_into() -> None:
    assert usage.of_folder({"folder": "/"}, {"has_namespaces": True}) == (0, 0)
