"""The house rules that a machine can check: who may import whom, where the heavy libraries live, how long things are.

An arrow is "may be imported by": configs <- gyms <- rollout <- reward <- rl. Imports are read from the syntax tree,
so one inside a function or under TYPE_CHECKING counts like any other.
"""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("configs", "gyms", "rollout", "reward", "rl")
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 80
BANNED_NAMES = {"utils.py", "helpers.py", "common.py", "misc.py"}

FILES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))
IN_ROOMS = frozenset(FILES)


@functools.cache
def nodes_of(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse((ROOT / file).read_text())))


def imported_modules(nodes: Iterable[ast.AST], *, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of every import; `package` is the one the file lies in, for relative imports."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield node.lineno, ".".join([*base, *([node.module] if node.module else [])])


@functools.cache
def imports_of(file: Path) -> list[tuple[int, str]]:
    return list(imported_modules(nodes_of(file), package=file.parent.parts))


def offences(allowed) -> list[str]:
    """`file:line imports name` for every import that `allowed(file, name)` refuses."""
    found = []
    for file in FILES:
        for line, name in imports_of(file):
            if not allowed(file, name):
                found.append(f"{file}:{line} imports {name}")
    return found


def test_the_import_reader_sees_every_form_of_import():
    source = (
        "import a.b, c\nfrom d.e import f\nfrom . import g\nfrom .h import i\nfrom ..j import k\n"
        "def later():\n    import lazy\n"
    )
    found = sorted(name for _, name in imported_modules(ast.walk(ast.parse(source)), package=("rl", "sub")))
    assert found == ["a.b", "c", "d.e", "lazy", "rl.j", "rl.sub", "rl.sub.h"]


def test_every_room_has_files():
    assert {file.parts[0] for file in FILES} == set(ROOMS)


def test_a_room_imports_only_itself_and_the_rooms_before_it():
    def allowed(file: Path, name: str) -> bool:
        target = name.split(".")[0]
        return target not in ROOMS or ROOMS.index(target) <= ROOMS.index(file.parts[0])

    assert offences(allowed) == []


def imported_files(file: Path) -> set[Path]:
    """The files of the rooms that a file imports, from wherever in it."""
    found = set()
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        else:
            continue
        paths = [Path(*name.split(".")).with_suffix(".py") for name in names]
        found |= IN_ROOMS.intersection(paths)
    return found


def test_no_file_of_a_room_below_the_loop_imports_what_imports_it():
    left = {file: imported_files(file) - {file} for file in FILES if file.parts[0] != "rl"}
    while free := [file for file, needed in left.items() if not needed & left.keys()]:
        for file in free:
            del left[file]
    # what is left stands on a cycle, or imports what does
    assert {str(file): sorted(map(str, needed & left.keys())) for file, needed in left.items()} == {}


def test_no_room_imports_the_tests_examples_or_benchmarks():
    assert offences(lambda _, name: name.split(".")[0] not in {"tests", "examples", "benchmarks"}) == []


def test_ray_is_imported_in_three_files_one_starts_actors_one_calls_them_and_one_shows_numbers_by_it():
    knows_ray = {Path("rl/actors.py"), Path("rl/calls.py"), Path("rl/gauges.py")}
    assert offences(lambda file, name: name.split(".")[0] != "ray" or file in knows_ray) == []


def test_vllm_is_imported_in_one_package():
    def allowed(file: Path, name: str) -> bool:
        return name.split(".")[0] != "vllm" or file.is_relative_to("rollout/engine")

    assert offences(allowed) == []


@pytest.mark.parametrize("module", ["configs.schema", "configs.load", "gyms.api", "rl.placed"])
def test_light_modules_import_without_torch_ray_or_vllm(module):
    code = f"import sys, {module}; print(*sorted({{'torch', 'ray', 'vllm'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_no_file_is_too_long_to_read_at_once():
    files = [*FILES, *(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))]
    lengths = {str(file): len((ROOT / file).read_text().splitlines()) for file in files}
    assert {file: lines for file, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_too_long_to_read_at_once():
    too_long = []
    for file in FILES:
        for node in nodes_of(file):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    too_long.append(f"{file}:{node.lineno} {node.name} has {lines} lines")
    assert too_long == []


def test_every_built_in_gym_is_a_folder_and_its_door_is_gym_py():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    doors = {reference.partition(":")[0] for reference in project["entry-points"]["reward_gyms"].values()}
    assert {door for door in doors if not re.fullmatch(r"gyms\.([a-z0-9_]+\.gym|adapters\.[a-z]+)", door)} == set()
    assert {door for door in doors if not (ROOT / Path(*door.split("."))).with_suffix(".py").is_file()} == set()


def test_files_are_named_after_what_they_hold():
    assert [str(file) for file in FILES if file.name in BANNED_NAMES] == []
