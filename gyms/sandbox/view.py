"""What submitted code may see of this machine: one interpreter, system libraries and compilers, and no packages.

Installed packages are covered: a data set, or this project's own built-in tasks, may lie among them, and with them the
answers. What is named here is bound read-only in namespaces (`view`), or allowed by Landlock (`readable_paths`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "LIBRARIES",
    "NUMPY",
    "Interpreter",
    "interpreters",
    "is_readable_by_others",
    "numpy_folders",
    "readable_paths",
    "test_libraries",
    "view",
]

LIBRARIES = "/opt/tests"
"""Where pytest and what it needs is shown."""
NUMPY = "/opt/numpy"
"""Where numpy is shown to programs that may use it; it holds no answers, and others do not have it on their path."""
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin")
_PACKAGES = ("site-packages", "dist-packages")
_TEST_LIBRARIES = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli", "py")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that submitted programs can run under."""

    executable: str
    prefix: str
    """Root of its installation."""
    stdlib: str


def interpreters() -> list[Interpreter]:
    """The Python that runs this, without its virtual environment, then the system's."""
    own = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
    stdlib = sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix})
    found = [Interpreter(own, os.path.realpath(sys.base_prefix), os.path.realpath(stdlib))]
    for path in ("/usr/bin/python3", "/usr/local/bin/python3"):
        real = Path(path).resolve()
        library = real.parent.parent / "lib" / real.name
        if real.is_file() and library.is_dir() and str(real) != own:
            found.append(Interpreter(str(real), str(real.parent.parent), str(library)))
    return found


def is_readable_by_others(path: str) -> bool:
    """True where a user without any rights here can reach and read a file or folder."""
    real = Path(path).resolve()
    try:
        if not real.stat().st_mode & stat.S_IROTH:
            return False
        return all(parent.stat().st_mode & stat.S_IXOTH for parent in real.parents)
    except OSError:
        return False


def view(interpreter: Interpreter) -> dict[str, Any]:
    """The binds, links and covers that `inside.root.build_root` makes a root folder of."""
    binds: list[list[str]] = []
    links: list[list[str]] = []
    for folder in map(Path, _SYSTEM):
        if folder.is_symlink():
            links.append([str(folder), str(folder.readlink())])
        elif folder.is_dir():
            binds.append([str(folder), str(folder)])
    if not interpreter.prefix.startswith("/usr"):
        for name in ("bin", "lib", "lib64"):
            folder = Path(interpreter.prefix, name)
            if folder.is_dir() and not folder.is_symlink():
                binds.append([str(folder), str(folder)])
    binds += [[source, f"{LIBRARIES}/{Path(source).name}"] for source in test_libraries()]
    if interpreter == interpreters()[0]:  # its compiled parts fit that interpreter alone
        binds += [[source, f"{NUMPY}/{Path(source).name}"] for source in numpy_folders()]
    covers = [path for path in _covered(interpreter) if Path(path).is_dir()]
    return {"binds": binds, "links": links, "covers": covers}


def _covered(interpreter: Interpreter) -> list[str]:
    found = ["/usr/src", "/usr/share/doc", "/usr/games"]
    roots = {Path(interpreter.prefix, "lib"), Path("/usr/lib"), Path("/usr/local/lib")}
    if interpreter.prefix != "/usr/local":
        found.append("/usr/local")
        roots.discard(Path("/usr/local/lib"))
    for root in sorted(roots):
        if root.is_dir():
            for python in sorted(root.glob("python*")):
                found += [str(python / name) for name in _PACKAGES]
    project = Path(__file__).resolve().parents[2]
    if any(project.is_relative_to(folder) for folder in (*_SYSTEM, interpreter.prefix)):
        found.append(str(project))
    return found


def test_libraries() -> list[str]:
    """Files and folders of pytest and what it imports, as installed beside this project; empty where it is not."""
    found = []
    for name in _TEST_LIBRARIES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            origin = Path(spec.origin)
            found.append(str((origin.parent if origin.name == "__init__.py" else origin).resolve()))
        elif name in ("pytest", "_pytest"):
            return []
    return found


def numpy_folders() -> list[str]:
    """Folders of numpy and of the libraries that came with it, as installed beside this project."""
    spec = importlib.util.find_spec("numpy")
    if spec is None or not spec.origin:
        return []
    folder = Path(spec.origin).parent.resolve()
    return [str(path) for path in (folder, folder.parent / "numpy.libs") if path.is_dir()]


def readable_paths(interpreter: Interpreter) -> list[str]:
    """The same view for Landlock, which can only allow: every system folder, with package folders left out."""
    covered = {Path(path) for path in _covered(interpreter)}
    roots = [Path(folder) for folder in (*_SYSTEM, f"{interpreter.prefix}/lib", f"{interpreter.prefix}/bin")]
    found: list[str] = []
    for root in roots:
        if root.is_dir() and not root.is_symlink():
            found += _without(root, covered)
    return [*dict.fromkeys(found), *test_libraries(), "/dev/urandom", "/dev/random"]


def _without(folder: Path, covered: set[Path]) -> list[str]:
    if folder in covered:
        return []
    if not any(path.is_relative_to(folder) for path in covered):
        return [str(folder)]
    return [found for child in sorted(folder.iterdir()) for found in _without(child, covered)]


def tool(name: str) -> str:
    """The real path of a program, or an empty string."""
    path = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin")
    return os.path.realpath(path) if path else ""
