"""A gym is found by name, import path or file; everything wrong is one ValueError that names key and cause."""

from __future__ import annotations

import pickle
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from gyms.arithmetic.gym import Arithmetic
from gyms.load import GymSpec, SpecError, gym_names, load_gym, resolve

GYM_SOURCE = """
from pydantic import BaseModel
from gyms.api import Gym, GymSettings, Score, Status, Task, message


class Inner(BaseModel, extra="forbid"):
    depth: int = 1


class Settings(GymSettings):
    size: int = 3
    inner: Inner = Inner()


class Tiny(Gym):
    Settings = Settings

    def tasks(self, split):
        return [Task(id=f"{split}/0", prompt=(message("user", split),))]

    def score(self, task, response):
        return Score(status=Status.OK, value=0.0)
"""


def write(path: Path, source: str) -> Path:
    path.write_text(textwrap.dedent(source))
    return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path, as site-packages would be."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("plug"):
            del sys.modules[name]


def distribute(site: Path, *, dist: str, name: str, value: str) -> None:
    """A fake installed distribution: what pip leaves behind, metadata only."""
    folder = site / f"{dist.replace('-', '_')}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[reward_gyms]\n{name} = {value}\n")


def test_an_entry_point_is_found_by_its_name(site: Path) -> None:
    write(site / "plug_one.py", GYM_SOURCE)
    distribute(site, dist="plug-one", name="tiny", value="plug_one:Tiny")
    assert resolve("tiny").__name__ == "Tiny"


def test_a_package_that_is_installed_while_others_look_is_found_and_gone_when_it_is_removed(site: Path) -> None:
    assert "tiny" not in gym_names()
    write(site / "plug_late.py", GYM_SOURCE)
    distribute(site, dist="plug-late", name="tiny", value="plug_late:Tiny")
    assert resolve("tiny").__name__ == "Tiny"
    shutil.rmtree(site / "plug_late-1.0.dist-info")
    assert "tiny" not in gym_names()


def test_names_are_listed_without_importing_the_plugin(site: Path) -> None:
    write(site / "plug_explosive.py", "raise RuntimeError('imported')")
    distribute(site, dist="plug-explosive", name="explosive", value="plug_explosive:Gym")
    assert "explosive" in gym_names()
    assert "plug_explosive" not in sys.modules


def test_two_distributions_with_one_name_are_an_error_that_names_both(site: Path) -> None:
    distribute(site, dist="plug-a", name="tiny", value="plug_a:Tiny")
    distribute(site, dist="plug-b", name="tiny", value="plug_b:Tiny")
    with pytest.raises(ValueError, match=r"plug-[ab] 1.0 .* and plug-[ab] 1.0") as caught:
        resolve("tiny", config_key="gyms.0.gym")
    assert "plug-a" in str(caught.value) and "plug-b" in str(caught.value) and "gyms.0.gym" in str(caught.value)


def test_an_unknown_name_is_refused_with_the_nearest_and_the_list(site: Path) -> None:
    distribute(site, dist="plug-a", name="multiplication", value="plug_a:Tiny")
    with pytest.raises(ValueError, match=r"gyms\.2\.gym = 'multiplicatoin'.*did you mean 'multiplication'") as caught:
        load_gym("m", "multiplicatoin", {}, config_key="gyms.2")
    assert "Installed gyms:" in str(caught.value)


def test_an_import_path_is_found() -> None:
    assert resolve("gyms.arithmetic.gym:Arithmetic") is Arithmetic


def test_a_wrong_class_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"has no 'Arithmetics' \(did you mean 'Arithmetic'\?\)"):
        resolve("gyms.arithmetic.gym:Arithmetics")


def test_something_that_is_no_gym_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a subclass of"):
        resolve("math:sqrt")


@pytest.mark.parametrize("suffix", ["", ":Tiny"])
def test_a_file_is_found_with_and_without_its_class(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "mine.py", GYM_SOURCE)
    assert resolve(f"{path}{suffix}").__name__ == "Tiny"
    assert resolve(f"{path}{suffix}") is resolve(str(path))


def test_a_file_with_two_gyms_needs_a_class(tmp_path: Path) -> None:
    path = write(tmp_path / "two.py", GYM_SOURCE + "\n\nclass Other(Tiny):\n    pass\n")
    with pytest.raises(ValueError, match=r"expected one Gym in the file, found Tiny, Other"):
        resolve(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gyms\.0\.gym: there is no file .*none\.py"):
        load_gym("x", str(tmp_path / "none.py"), {}, config_key="gyms.0")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_module_here", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_an_import_error_names_gym_and_cause(tmp_path: Path, source: str, cause: str) -> None:
    path = write(tmp_path / "broken.py", source)
    for _ in range(2):  # a failed import leaves nothing behind
        with pytest.raises(ValueError, match=cause) as caught:
            load_gym("x", str(path), {}, config_key="gyms.1")
        assert "broken.py" in str(caught.value) and "gyms.1.gym" in str(caught.value)


def test_what_does_not_exist_is_told_from_what_is_broken(tmp_path: Path) -> None:
    broken = write(tmp_path / "broken.py", "import no_such_module_here")
    for reference in (
        "no_such_gym",
        "no_such.module:Gym",
        "gyms.no_such:Gym",
        "::",
        "gyms.arithmetic.gym:Nope",
        "no.py",
    ):
        with pytest.raises(SpecError):
            resolve(reference)
    with pytest.raises(ValueError) as caught:
        resolve(str(broken))
    assert not isinstance(caught.value, SpecError)


def test_another_contract_version_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "old.py", GYM_SOURCE + "\n    api_version = 99\n")
    with pytest.raises(ValueError, match=r"gyms\.x\.gym: gym 'x' .* version 99 of the gym contract.* speaks version 1"):
        load_gym("x", str(path), {})


def test_unknown_settings_are_refused_with_the_nearest_name_and_the_full_key(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", GYM_SOURCE)
    with pytest.raises(ValueError, match=r"gyms\.0\.args\.sise: unknown setting \(did you mean 'size'\?\)"):
        load_gym("x", str(path), {"sise": 3}, config_key="gyms.0")
    with pytest.raises(ValueError, match=r"gyms\.0\.args\.inner\.dept: unknown setting \(did you mean 'depth'\?\)"):
        load_gym("x", str(path), {"inner": {"dept": 3}}, config_key="gyms.0")


def test_a_setting_of_the_wrong_type_says_what_was_given(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", GYM_SOURCE)
    with pytest.raises(ValueError, match=r"gyms\.x\.args\.size: .*integer.*got 'three'"):
        load_gym("x", str(path), {"size": "three"})


def test_a_constructor_that_raises_is_reported_with_its_words(tmp_path: Path) -> None:
    source = GYM_SOURCE + "\n    def __init__(self, settings, services):\n        raise KeyError('lost')\n"
    path = write(tmp_path / "mine.py", source)
    with pytest.raises(ValueError, match=r"gyms\.x\.args: gym 'x' .* KeyError: 'lost'"):
        load_gym("x", str(path), {})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("needs = Needs(wall_seconds='30')", r"gyms\.x\.gym: gym 'x' .* declares needs\.wall_seconds = '30', expected"),
        ("needs = Needs(cpu_seconds='5')", r"gyms\.x\.gym: gym 'x' .* declares needs\.cpu_seconds = '5', expected"),
        ("Settings = Inner", r"gyms\.x\.args: gym 'x' .* Settings = <class .*Inner'>, expected a subclass of GymSett"),
        ("Settings = Raises", r"gyms\.x\.args: gym 'x' .* cannot be built from its settings: ImportError: no table"),
    ],
)
def test_a_gym_that_declares_something_of_another_type_is_told_with_name_and_key(
    tmp_path: Path, source: str, message: str
) -> None:
    raises = """
from pydantic import model_validator
from gyms.api import Needs


class Raises(Settings):
    @model_validator(mode="after")
    def _look(self):
        raise ImportError("no table")


class Wrong(Tiny):
"""
    path = write(tmp_path / "mine.py", f"{GYM_SOURCE}{raises}    {source}\n")
    with pytest.raises(ValueError, match=message):
        load_gym("x", f"{path}:Wrong", {})


def test_a_spec_survives_pickling_and_builds_the_same_gym() -> None:
    spec = GymSpec(name="sums", reference="gyms.arithmetic.gym:Arithmetic", args={"max_operand": 9})
    copy = pickle.loads(pickle.dumps(spec))
    assert copy == spec
    assert list(copy.build().tasks("heldout")) == list(spec.build().tasks("heldout"))
