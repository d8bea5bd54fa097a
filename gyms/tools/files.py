"""Somebody's folders: notes that are moved, renamed, extended and deleted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

from gyms.tools.world import Errand, Gap, Result, State, World, as_text, tool

__all__ = ["Files"]

FOLDERS = ("archive", "drafts", "letters", "recipes", "work")
NAMES = ("agenda", "budget", "guests", "ideas", "lake", "minutes", "notes", "plan", "report", "songs", "tour", "wishes")
SPARE_NAMES = ("copy", "final", "latest", "master", "second")
WORDS = (
    "amber", "basil", "cedar", "dune", "ember", "fern", "granite", "harbour", "iris", "juniper", "kelp", "lilac",
)  # fmt: skip
LINES = ("Call Ana.", "Ask for the price.", "Done on Friday.", "See page 4.", "To be checked.", "Twice as much.")
MAX_LINE_CHARS = 200
_FOLDER = {"type": "string", "enum": list(FOLDERS)}
_PATH = {"type": "string", "maxLength": 100, "description": "folder and name, as list_files gives it: work/plan.txt"}


class Files(World):
    """`{"files": {path: [line, ...]}}`; every name occurs in one folder only."""

    name = "files"
    about = "You look after somebody's notes, which are kept as text files in folders."
    topics = ("folder", "line", "name")
    tools = (
        tool("list_files", "Lists the files of a folder with the number of their lines.", folder=_FOLDER),
        tool("read_file", "Shows the lines of a file.", path=_PATH),
        tool(
            "find_text",
            "Lists the files that contain a text.",
            text={"type": "string", "minLength": 1, "maxLength": MAX_LINE_CHARS},
        ),
        tool("move_file", "Moves a file to another path; it must be free.", path=_PATH, new_path=_PATH),
        tool(
            "append_line",
            "Adds a line to the end of a file.",
            path=_PATH,
            line={"type": "string", "maxLength": MAX_LINE_CHARS},
        ),
        tool("delete_file", "Deletes a file.", path=_PATH),
    )

    def begin(self, draw: random.Random) -> State:
        names, words = draw.sample(NAMES, 9), draw.sample(WORDS, 9)
        files = {
            f"{draw.choice(FOLDERS)}/{name}.txt": _shuffled(draw, [f"About {word}.", *draw.sample(LINES, number)])
            for name, word in zip(names, words, strict=True)
            for number in [draw.randint(0, 4)]
        }
        return {"files": dict(sorted(files.items()))}

    def errand(self, draw: random.Random, state: State) -> Errand | None:
        return draw.choice((self._moved, self._renamed, self._extended, self._deleted, self._longest))(draw, state)

    def facts(self, state: State) -> Counter[str]:
        return Counter(f"{path} holds {as_text(lines)}" for path, lines in state["files"].items())

    def do_list_files(self, state: State, folder: str) -> Result:
        shown = [{"path": path, "lines": len(lines)} for path, lines in _within(state, folder).items()]
        return Result(state=state, text=as_text(shown))

    def do_read_file(self, state: State, path: str) -> Result:
        if path not in state["files"]:
            return _missing(state, path)
        return Result(state=state, text="\n".join(state["files"][path]))

    def do_find_text(self, state: State, text: str) -> Result:
        found = [path for path, lines in state["files"].items() if any(text in line for line in lines)]
        return Result(state=state, text=as_text(found))

    def do_move_file(self, state: State, path: str, new_path: str) -> Result:
        if path not in state["files"]:
            return _missing(state, path)
        folder, _, name = new_path.partition("/")
        if folder not in FOLDERS or not name or "/" in name:
            return Result(state=state, text=f"Error: expected one of the folders {', '.join(FOLDERS)}, `/` and a name.")
        if new_path in state["files"]:
            return Result(state=state, text=f"Error: {new_path} is there already.")
        files = {new_path if known == path else known: lines for known, lines in state["files"].items()}
        return Result(state={"files": dict(sorted(files.items()))}, text="moved")

    def do_append_line(self, state: State, path: str, line: str) -> Result:
        if path not in state["files"]:
            return _missing(state, path)
        return Result(state={"files": {**state["files"], path: [*state["files"][path], line]}}, text="added")

    def do_delete_file(self, state: State, path: str) -> Result:
        if path not in state["files"]:
            return _missing(state, path)
        return Result(state={"files": {p: lines for p, lines in state["files"].items() if p != path}}, text="deleted")

    def _moved(self, draw: random.Random, state: State) -> Errand:
        """By its name alone: where it is must be found."""
        path = draw.choice(sorted(state["files"]))
        folder, _, name = path.partition("/")
        other = draw.choice([known for known in FOLDERS if known != folder])
        return Errand(
            subject=name,
            wish=f"Move the file {name}, wherever it is, into the folder {other}.",
            calls=(("list_files", {"folder": folder}), ("move_file", {"path": path, "new_path": f"{other}/{name}"})),
            gaps=(
                Gap("folder", f"Move the file {name}, wherever it is, into another folder.", f"Move it into {other}."),
            ),
        )

    def _renamed(self, draw: random.Random, state: State) -> Errand | None:
        """By what it says."""
        path, word = _by_word(draw, state)
        folder, _, name = path.partition("/")
        spare = f"{draw.choice(SPARE_NAMES)}.txt"
        if not word or any(known.endswith(f"/{spare}") for known in state["files"]):
            return None
        unsaid = f"Rename the file about {word}; it stays in its folder."
        return Errand(
            subject=name,
            wish=f"Rename the file about {word} to {spare}; it stays in its folder.",
            calls=(("find_text", {"text": word}), ("move_file", {"path": path, "new_path": f"{folder}/{spare}"})),
            gaps=(Gap("name", unsaid, f"Call it {spare}.", (spare,)),),
        )

    def _extended(self, draw: random.Random, state: State) -> Errand | None:
        path, word = _by_word(draw, state)
        line = draw.choice(LINES)
        if not word:
            return None
        return Errand(
            subject=path.partition("/")[2],
            wish=f"Add the line {line!r} to the end of the file about {word}.",
            calls=(("find_text", {"text": word}), ("append_line", {"path": path, "line": line})),
            gaps=(Gap("line", f"Add a line to the end of the file about {word}.", f"The line is {line!r}."),),
        )

    def _deleted(self, draw: random.Random, state: State) -> Errand | None:
        path, word = _by_word(draw, state)
        if not word:
            return None
        calls = (("find_text", {"text": word}), ("delete_file", {"path": path}))
        return Errand(subject=path.partition("/")[2], wish=f"Delete the file about {word}.", calls=calls)

    def _longest(self, draw: random.Random, state: State) -> Errand | None:
        """Sizes must be compared."""
        folder, other = draw.sample(FOLDERS, 2)
        sizes = sorted(((len(lines), path) for path, lines in _within(state, folder).items()), reverse=True)
        if len(sizes) < 2 or sizes[0][0] == sizes[1][0]:
            return None
        path = sizes[0][1]
        name = path.partition("/")[2]
        return Errand(
            subject=name,
            wish=f"Move the file with the most lines in the folder {folder} into the folder {other}.",
            calls=(("list_files", {"folder": folder}), ("move_file", {"path": path, "new_path": f"{other}/{name}"})),
            gaps=(
                Gap(
                    "folder",
                    f"Move the file with the most lines in the folder {folder} into another folder.",
                    f"Move it into {other}.",
                ),
            ),
        )


def _within(state: State, folder: str) -> Mapping[str, list[str]]:
    return {path: lines for path, lines in state["files"].items() if path.startswith(f"{folder}/")}


def _by_word(draw: random.Random, state: State) -> tuple[str, str]:
    """A file and the word that it is about; no word where there are no files."""
    if not state["files"]:
        return "", ""
    path = draw.choice(sorted(state["files"]))
    about = next(line for line in state["files"][path] if line.startswith("About "))
    return path, about.removeprefix("About ").removesuffix(".")


def _missing(state: State, path: str) -> Result:
    return Result(state=state, text=f"Error: there is no file {path!r}; list_files gives the paths.")


def _shuffled(draw: random.Random, lines: list[str]) -> list[str]:
    draw.shuffle(lines)
    return lines
