"""Folders of the driver's node on nodes that see them and on nodes that do not: two folders of this machine, no Ray."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from rl import folders
from rl.checkpoint import prune, staging_folder
from rl.folders import Folders, Shelf, listing
from rl.placed import placed

RUN = Path("/nowhere/run")
"""Where the driver has its run folder, which no test's process sees."""


@pytest.fixture(autouse=True)
def own_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files of a node of its own, and small pieces."""
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    monkeypatch.setattr(folders, "PIECE_BYTES", 1000)


class Away:
    """A shelf whose node has its root in a folder of this machine; counts what it is asked."""

    def __init__(self, root: Path) -> None:
        self.root, self.asked = root, list[str]()

    def at(self, path: Path) -> Path:
        return self.root / path.relative_to("/")

    def __call__(self, method: str, *args: Any) -> Any:
        self.asked.append(method)
        found = getattr(Shelf(), method)(*(self.at(arg) if isinstance(arg, Path) else arg for arg in args))
        return Path("/") / found.relative_to(self.root) if isinstance(found, Path) else found


@pytest.fixture
def away(tmp_path: Path) -> Away:
    made = Away(tmp_path / "driver")
    made.at(RUN).mkdir(parents=True)
    return made


def fill(folder: Path, *, letter: bytes = b"x") -> dict[str, bytes]:
    """Files of no, one and several pieces, one in a folder of its own."""
    files = {"empty": b"", "config.json": b"{}", "model": letter * 2500, "learner/.metadata": b"y" * 3000}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text)
    return files


def held(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_this_node_does_not_see_is_fetched_whole_in_pieces_and_once(away: Away) -> None:
    files = fill(away.at(RUN / "base"))
    with Folders(away).read(RUN / "base") as copy:
        assert held(copy) == files and copy.name == "base"
        assert away.asked.count("read") == 1 + 3 + 3  # pieces of 1000
        with Folders(away).read(RUN / "base") as again:
            assert again == copy
    with Folders(away).read(RUN / "base") as later:
        assert later == copy
    assert away.asked.count("read") == 7


def test_what_changed_on_the_drivers_node_is_fetched_anew_and_what_nobody_uses_goes(away: Away) -> None:
    fill(away.at(RUN / "base"))
    with Folders(away).read(RUN / "base") as first:
        fill(away.at(RUN / "base"), letter=b"z")
        with Folders(away).read(RUN / "base") as second:
            assert second != first and (first / "model").is_file()
            assert (second / "model").read_bytes() == b"z" * 2500
    fill(away.at(RUN / "other"))
    with Folders(away).read(RUN / "other"):
        assert not first.exists() and not second.exists()


def test_a_node_that_has_the_same_files_reads_its_own_and_one_that_has_others_does_not(
    away: Away, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "mine"
    fill(away.at(folder))
    fill(folder)
    (folder / "notes.txt").write_text("of this node alone")
    with Folders(away).read(folder) as found:
        assert found == folder
    (folder / "model").write_bytes(b"x" * 2499 + b"z")  # as long, and ends otherwise
    with Folders(away).read(folder) as found:
        assert found != folder and held(found) == held(away.at(folder))


def test_on_the_drivers_node_nobody_is_asked(tmp_path: Path) -> None:
    here = Folders()
    with here.read(tmp_path) as read, here.added_to(tmp_path) as added, here.replaced(tmp_path / "x") as replaced:
        assert (read, added, replaced) == (tmp_path, tmp_path, tmp_path / "x")


def test_what_several_write_into_a_folder_that_they_do_not_see_comes_together_there(away: Away) -> None:
    away.at(RUN / "staging").mkdir()
    files = {}
    for rank in range(2):
        with Folders(away).added_to(RUN / "staging") as here:
            assert not RUN.exists() and list(here.iterdir()) == []
            files |= {f"learner/{rank}": b"%d" % rank * 2000, f"{rank}.pt": b""}
            for name in (f"learner/{rank}", f"{rank}.pt"):
                (here / name).parent.mkdir(exist_ok=True)
                (here / name).write_bytes(files[name])
        assert not here.exists()
    assert held(away.at(RUN / "staging")) == files


def test_what_is_shared_is_written_where_it_belongs_and_no_mark_stays(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(method: str, *args: Any) -> Any:
        asked.append(method)
        return getattr(Shelf(), method)(*args)

    (tmp_path / "staging").mkdir()
    with Folders(ask).added_to(tmp_path / "staging") as here:
        assert here == tmp_path / "staging"
    assert listing(tmp_path / "staging") == {} and asked == ["mark", "unmark"]


def test_an_export_appears_whole_in_the_place_of_an_older_one_or_not_at_all(away: Away) -> None:
    fill(away.at(RUN / "export"))
    with pytest.raises(RuntimeError, match="of the learner"), Folders(away).replaced(RUN / "export") as here:
        fill(here, letter=b"z")
        raise RuntimeError("of the learner")
    assert (away.at(RUN / "export") / "model").read_bytes() == b"x" * 2500
    with Folders(away).replaced(RUN / "export") as here:
        here.mkdir()
        (here / "model").write_bytes(b"new")
        (here.parent / "export_ema").mkdir()
        (here.parent / "export_ema" / "model").write_bytes(b"average")
    assert held(away.at(RUN)) == {"export/model": b"new", "export_ema/model": b"average"}


def test_what_is_written_into_a_checkpoint_that_was_given_up_comes_nowhere(away: Away) -> None:
    checkpoints = RUN / "checkpoints"
    staging = staging_folder(away.at(checkpoints), 2)
    with (
        pytest.raises(FileNotFoundError, match="was given up"),
        Folders(away).added_to(checkpoints / staging.name) as here,
    ):
        fill(here)
        prune(away.at(checkpoints), keep=1)
    assert held(away.at(RUN)) == {}


def test_files_that_differ_between_their_ends_are_others(away: Away, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    fill(away.at(folder))
    fill(folder)
    for where, letter in ((away.at(folder), b"a"), (folder, b"b")):
        (where / "model").write_bytes(b"x" * 200_000 + letter + b"x" * 200_000)
    with Folders(away).read(folder) as found:
        assert found != folder and held(found) == held(away.at(folder))


def test_hidden_folders_are_no_part_of_a_model(away: Away, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    fill(away.at(folder))
    fill(folder)
    (away.at(folder) / ".cache" / "hub").mkdir(parents=True)
    (away.at(folder) / ".cache" / "hub" / "model.metadata").write_text("when it came")
    with Folders(away).read(folder) as found:
        assert found == folder


def test_a_copy_that_lost_a_file_is_fetched_anew(away: Away) -> None:
    files = fill(away.at(RUN / "base"))
    with Folders(away).read(RUN / "base") as copy:
        pass
    (copy / "model").unlink()  # as whoever deletes old temporary files does
    with Folders(away).read(RUN / "base") as copy:
        assert held(copy) == files


def test_a_place_for_temporary_files_that_others_made_is_refused_and_left_alone(away: Away, tmp_path: Path) -> None:
    fill(away.at(RUN / "base"))
    home = tmp_path / "home"
    (home / "poetry").mkdir(parents=True)
    (home / "poetry.lock").write_text("kept")
    place = tmp_path / "temp" / f"k2rl-{os.getuid()}"
    place.symlink_to(home)
    told = "is not a folder of this user alone: remove it, or give that node another folder"
    with pytest.raises(OSError, match=told), Folders(away).read(RUN / "base"):
        pass
    assert held(home) == {"poetry.lock": b"kept"} and (home / "poetry").is_dir()
    place.unlink()
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(OSError, match=told), Folders(away).scratch():
        pass


def test_a_folder_to_write_into_leaves_nothing_behind(away: Away, tmp_path: Path) -> None:
    with Folders(away).scratch():
        pass
    assert list((tmp_path / "temp" / f"k2rl-{os.getuid()}").iterdir()) == []
    (away.at(RUN) / ".export[1].0123.partial").mkdir()  # of a process that died
    with Folders(away).replaced(RUN / "export[1]") as here:
        here.mkdir()
        (here / "model").write_bytes(b"new")
    assert [one.name for one in away.at(RUN).iterdir()] == ["export[1]"]


def _hold(away: Away, place: str, pipe: Any) -> None:
    tempfile.tempdir = place
    with Folders(away).read(RUN / "base") as copy, Folders(away).scratch() as scratch:
        (scratch / "half").write_text("written")
        pipe.send((copy, scratch))
        pipe.recv()


def test_what_a_process_left_that_was_killed_is_deleted_by_who_fetches_next(away: Away, tmp_path: Path) -> None:
    fill(away.at(RUN / "base"))
    fill(away.at(RUN / "other"))
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(away, str(tmp_path / "temp"), theirs))
    process.start()
    theirs.close()  # or nobody would hear that it died
    copy, scratch = ours.recv()
    with Folders(away).read(RUN / "other"):
        assert copy.is_dir() and scratch.is_dir()  # a living process's
    process.kill()
    process.join()
    fill(away.at(RUN / "third"))
    with Folders(away).read(RUN / "third") as third:
        assert not copy.exists() and not scratch.exists()
        kept = third.parent.name
        assert sorted(one.name for one in third.parent.parent.iterdir()) == [kept, f"{kept}.lock"]


def test_a_scratch_folder_of_a_process_that_was_killed_makes_room_for_the_next_one(away: Away, tmp_path: Path) -> None:
    fill(away.at(RUN / "base"))
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(away, str(tmp_path / "temp"), theirs))
    process.start()
    theirs.close()  # or nobody would hear that it died
    copy, scratch = ours.recv()
    with Folders(away).scratch():
        assert scratch.is_dir()  # a living process's
    process.kill()
    process.join()
    with Folders(away).scratch():
        assert not scratch.exists() and not scratch.with_name(f"{scratch.name}.lock").exists()
        assert copy.is_dir()  # for the process that is started anew


@pytest.mark.parametrize("delete", [Path.unlink, lambda file: file.rename(file.with_name(".nfs01"))], ids=["", "nfs"])
def test_a_lock_that_was_deleted_while_it_was_waited_for_is_no_lock(
    away: Away, tmp_path: Path, delete: Callable[[Path], object]
) -> None:
    """Two that wait for who fetches: whoever comes first must not delete what the other one is given. NFS only renames
    what somebody has open."""
    here, file = Folders(away), tmp_path / "temp" / f"k2rl-{os.getuid()}" / "key.lock"

    def is_there_when_it_is_ours() -> bool:
        with here._lock("key", fcntl.LOCK_EX):
            return file.is_file()

    with ThreadPoolExecutor(1) as pool:
        with here._lock("key", fcntl.LOCK_EX):
            waiting, waits = pool.submit(is_there_when_it_is_ours), f":{file.stat().st_ino} "
            while not any("->" in line and waits in line for line in Path("/proc/locks").read_text().splitlines()):
                assert not waiting.done()
            delete(file)
        assert waiting.result()


def test_a_lock_is_open_for_reading_as_nfs_asks_of_a_shared_one_and_for_writing_as_of_an_exclusive_one(
    away: Away, tmp_path: Path
) -> None:
    file = tmp_path / "temp" / f"k2rl-{os.getuid()}" / "key.lock"
    for how in (fcntl.LOCK_SH, fcntl.LOCK_EX):
        with Folders(away)._lock("key", how):
            opened = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if fd.exists() and fd.samefile(file)]
            assert [fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE for fd in opened] == [os.O_RDWR]


@dataclass(frozen=True)
class Settings:
    model_folder: Path
    word: str


class Learner:
    """Its weights are a text."""

    def __init__(self, settings: Settings, seat: object = None) -> None:
        self.folder, self.seat = settings.model_folder, seat
        self.text = settings.word + (settings.model_folder / "model").read_text()

    def save(self, folder: Path) -> None:
        (folder / "learner.pt").write_text(self.text)

    def load(self, folder: Path) -> None:
        self.text = (folder / "learner.pt").read_text()

    def export(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "model").write_text(self.text)


def test_a_class_that_knows_of_no_nodes_reads_saves_loads_and_exports_on_one_that_sees_nothing(away: Away) -> None:
    away.at(RUN / "base").mkdir()
    (away.at(RUN / "base") / "model").write_text("theta")
    away.at(RUN / "step").mkdir()
    settings = Settings(model_folder=RUN / "base", word="my ")
    made: Any = placed(Learner, log=None)(lambda: Folders(away), None, settings, "seat")
    assert isinstance(made, Learner) and type(made).__name__ == "Learner" and made.seat == "seat"
    assert not hasattr(made, "begin")  # as the class has none
    made.save(RUN / "step")
    made.text = "moved"
    made.load(RUN / "step")
    made.export(RUN / "export")
    copy = made.folder
    assert held(away.at(RUN)) == {"base/model": b"theta", "step/learner.pt": b"my theta", "export/model": b"my theta"}
    fill(away.at(RUN / "other"))
    with Folders(away).read(RUN / "other"):
        assert copy.is_dir()  # held for as long as the process lives


def test_a_node_without_room_is_told_with_what_to_do(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(away.at(RUN / "base"))
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Shelf, "read", lambda *args: (_ for _ in ()).throw(full))
    told = r"/nowhere/run/base could not be fetched into .* on node .*: .*No space left.*; give that node room there"
    with pytest.raises(OSError, match=told), Folders(away).read(RUN / "base"):
        pass
    monkeypatch.setattr(Shelf, "read", lambda *args: b"")
    with pytest.raises(OSError, match="it changed meanwhile"), Folders(away).read(RUN / "base"):
        pass


FULL = OSError(errno.ENOSPC, "No space left on device")


def test_a_node_without_room_for_what_is_to_be_written_is_told_with_what_to_do(away: Away) -> None:
    away.at(RUN / "staging").mkdir()
    told = r" could not be written: .*/scratch-\w+ on node .* is full \(.*No space left.*\); give that node room there"
    with pytest.raises(OSError, match="^/nowhere/run/staging" + told), Folders(away).added_to(RUN / "staging"):
        raise FULL
    with pytest.raises(OSError, match="^/nowhere/run/export" + told), Folders(away).replaced(RUN / "export"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("k2rl-*", "temp on node .* is full .*; give that node room there"),
        ("scratch-*.lock", "temp/k2rl-.* on node .* is full .*; give that node room there"),
        ("scratch-*", "temp/k2rl-.* on node .* is full .*; give that node room there"),
        (".*.partial", "run on node .* is full .*; make room there"),
        (".*.mark", "run on node .* is full .*; make room there"),
    ],
)
def test_a_disk_that_is_full_before_anything_is_written_is_told_with_what_to_do(
    away: Away, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    def unless_full(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(path: Path, *args: Any, **kwargs: Any) -> Any:
            if fnmatch(path.name, name):
                raise FULL
            return make(path, *args, **kwargs)

        return made

    for method in ("mkdir", "open", "touch"):
        monkeypatch.setattr(Path, method, unless_full(getattr(Path, method)))
    with pytest.raises(OSError, match=told), Folders(away).replaced(RUN / "export") as here:
        here.mkdir()


def test_where_no_room_is_left_what_torch_says_is_told_as_that_and_elsewhere_as_it_is(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`torch.save` into a full file system raises this, without a number."""
    away.at(RUN / "staging").mkdir()
    odd = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")
    with pytest.raises(RuntimeError, match=r"^.enforce fail"), Folders(away).added_to(RUN / "staging"):
        raise odd
    usage = shutil.disk_usage("/")._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    with pytest.raises(OSError, match=r"is full \(.*unexpected pos 576"), Folders(away).added_to(RUN / "staging"):
        raise odd
    with pytest.raises(OSError, match=r"is full .*; make room there$"), Folders().added_to(away.at(RUN / "staging")):
        raise odd
    with pytest.raises(KeyError, match="a bug"), Folders().added_to(away.at(RUN / "staging")):
        raise KeyError("a bug")


def test_a_full_disk_of_the_drivers_node_is_told_as_that(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    away.at(RUN / "staging").mkdir()

    def full(descriptor: int) -> None:
        raise FULL

    with pytest.raises(OSError, match=r"run/staging/model could not be written: .*/run/staging on node .*make room"):  # noqa: SIM117
        with Folders(away).added_to(RUN / "staging") as here:
            (here / "model").write_bytes(b"x")
            monkeypatch.setattr(os, "fsync", full)
