"""Rules of our own for puzzles on boards, where reasoning-gym's pay for what is not allowed or not for what is right.

- boxnet: actions that cannot be done were skipped, so that one list of all actions solved every field of its size.
- tower_of_hanoi: a right solution that is longer than the stored one was wrong, which nobody asked to be shortest.
- survo: of several right grids only the stored one was right.
- tsumego: in a third of the puzzles the stored move captures nothing, or less than another. What counts is how many
  stones a move captures; puzzles whose own move is not among the best are not asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["BOARDS"]

Entry = Mapping[str, Any]

_PLACE = r"([0-9]{1,3}(?:\.[0-9])?)\s*,\s*([0-9]{1,3}(?:\.[0-9])?)"
_AGENT = re.compile(rf"Agent\s*\[\s*{_PLACE}\s*\]", re.IGNORECASE)
_ACTION = re.compile(rf"move\(\s*(box_\w{{1,40}})\s*,\s*(?:(target_\w{{1,40}})|square\s*\[\s*{_PLACE}\s*\])\s*\)")
_HANOI_MOVE = re.compile(r"\s*move disk ([0-9]+) from peg ([0-9]+) to peg ([0-9]+)\s*", re.IGNORECASE)


def _boxnet(answer: str, entry: Entry) -> bool:
    """Whether all boxes are on their targets after actions each of which can be done."""
    field = {key: list(things) for key, things in entry["metadata"]["initial_state"].items()}
    try:
        steps = json.loads(answer)
    except (ValueError, RecursionError):
        return False
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return False
    actions = [action for step in steps for action in step.items()]
    return all(_acts(field, agent, action) for agent, action in actions) and not any(
        thing.startswith("box_") for things in field.values() for thing in things
    )


def _acts(field: dict[str, list[str]], agent: str, action: object) -> bool:
    """Does what an agent is told, in place; False where it cannot be done."""
    at, told = _AGENT.fullmatch(agent.strip()), _ACTION.fullmatch(action.strip()) if isinstance(action, str) else None
    if at is None or told is None:
        return False
    here, (box, target) = field.get(f"{float(at[1])}_{float(at[2])}", []), told.group(1, 2)
    if box not in here:
        return False
    if target:
        if target not in here or target.removeprefix("target_") != box.removeprefix("box_"):
            return False
        here.remove(target)
    else:
        x, y = float(told[3]), float(told[4])
        there = field.get(f"{x}_{y}")
        if there is None or abs(x - float(at[1])) + abs(y - float(at[2])) != 1:
            return False
        there.append(box)
    here.remove(box)
    return True


def _hanoi(answer: str, entry: Entry) -> bool:
    """Whether the moves, each of which is allowed, bring all disks to the target."""
    metadata = entry["metadata"]
    pegs: dict[int, list[int]] = {peg: [] for peg in range(1, metadata["num_pegs"] + 1)}
    disks = list(range(metadata["num_disks"], 0, -1))
    pegs[metadata["start_peg"]] += disks
    for line in filter(str.strip, answer.splitlines()):
        move = _HANOI_MOVE.fullmatch(line)
        if move is None:
            return False
        disk, start, end = map(int, move.groups())
        if start not in pegs or end not in pegs or pegs[start][-1:] != [disk] or min(pegs[end], default=disk) < disk:
            return False
        pegs[end].append(pegs[start].pop())
    return pegs[metadata["target_peg"]] == disks


def _survo(answer: str, entry: Entry) -> bool:
    """Whether a grid keeps what is given, adds up, and has the numbers that were to be placed, each once."""
    given, numbers = entry["metadata"]["puzzle"], entry["metadata"]["candidate_numbers"]
    grid = [[int(word) for word in line.split()] for line in answer.splitlines() if line.strip()]
    if [len(row) for row in grid] != [len(row) for row in given]:
        return False
    cells = [pair for rows in zip(given, grid, strict=True) for pair in zip(*rows, strict=True)]
    placed = [value for hole, value in cells if not hole]
    lines = [*grid, *zip(*grid, strict=True)]
    return (
        all(hole in (0, value) for hole, value in cells)
        and sorted(placed) == sorted(numbers)
        and all(sum(line[:-1]) == line[-1] for line in lines)
    )


# -- Go ---------------------------------------------------------------------------------------------------------------

Point = tuple[int, int]


def _tsumego(answer: str, entry: Entry) -> bool:
    """Whether no move captures more stones than this one does, which captures some."""
    board = entry["metadata"]["board"]
    move = re.fullmatch(r"([A-Z])\s*([0-9]{1,2})", answer.strip().upper())
    if move is None:
        return False
    point = len(board) - int(move[2]), ord(move[1]) - ord("A")
    empty = [(row, column) for row, line in enumerate(board) for column, stone in enumerate(line) if stone == "."]
    return point in empty and 0 < _num_captured(board, point) == max(_num_captured(board, other) for other in empty)


def _num_captured(board: Sequence[Sequence[str]], move: Point) -> int:
    """How many white stones a black one at an empty point takes."""
    taken: set[Point] = set()
    for start in _beside(board, move):
        if board[start[0]][start[1]] != "O" or start in taken:
            continue
        group, rest = {start}, [start]
        while rest:
            near = [point for point in _beside(board, rest.pop()) if point != move and point not in group]
            if any(board[row][column] == "." for row, column in near):
                break
            new = {(row, column) for row, column in near if board[row][column] == "O"}
            group |= new
            rest += new
        else:
            taken |= group
    return len(taken)


def _beside(board: Sequence[Sequence[str]], point: Point) -> list[Point]:
    row, column = point
    near = ((row, column + 1), (row, column - 1), (row + 1, column), (row - 1, column))
    return [(r, c) for r, c in near if 0 <= r < len(board) and 0 <= c < len(board[r])]


BOARDS: Mapping[str, Callable[[str, Entry], bool]] = {
    "boxnet": _boxnet,
    "survo": _survo,
    "tower_of_hanoi": _hanoi,
    "tsumego": _tsumego,
}
"""Data set -> whether an answer of its grammar solves a puzzle."""
