"""Questions about small databases, answered by one SQL query: a gym that runs what a model wrote, in SQLite.

*What is right.* A query is run on three databases of one schema and different rows; it is right where it gives the rows
that the task's own query gives in each. So an answer that was guessed or written into the query pays nothing, and any
query that means the same is as good as ours. Rows are compared as a multiset, or as a list where the question asks for
an order; names of columns do not count, numbers are compared to nine digits.

*What a query may do.* Read. It gets a connection of its own to a file that is opened read-only, and SQLite asks an
authoriser before each thing that a statement does: selecting, reading, calling and recursing are allowed, and all else
is not (ATTACH could otherwise make a file anywhere, PRAGMA undo the limits). What it costs is bounded by SQLite itself:
steps of its virtual machine, bytes of its heap (which also ends a query whose planning grows without end), and lengths.
Whoever exceeds them, or writes what is no query, is the model at fault, and the score says so; only a task whose own
query fails is a fault of ours.

Left out: a process for each query. SQLite is one library call deep and bounded as above; a crash of it costs the worker
that scores, which is replaced. Gyms that run programs declare `Needs(sandbox=True)` instead (docs/sandbox.md).
"""

from __future__ import annotations

import random
import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from gyms.api import Gym, GymSettings, Needs, Score, Services, Split, Status, Task, message
from gyms.response import final_text

MAX_RESPONSE_CHARS = 100_000
MAX_SQL_CHARS = 4_000
MAX_ROWS = 500
"""Rows that a query may give; our own give fewer than a table has."""
STEPS_PER_CALL = 1_000
"""Instructions of SQLite's virtual machine between two looks at the budget."""
HEAP_BYTES = 32 << 20
"""SQLite's whole heap in this process. It cannot be raised again, so a process that scores should do nothing else."""
LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 2_000,  # bytes of a value or row: what one instruction may chew on
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 4 * MAX_SQL_CHARS,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 20,
}
READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
REFUSED_FUNCTIONS = {"load_extension", "fts3_tokenizer", "random", "randomblob"}
"""They load code, or give a score that changes from run to run."""
NUM_ROWS = (20, 35, 50)
"""Rows of the first table in the databases of a schema: different, so that no count is the same in all of them."""

_FENCED = re.compile(r"```[ \t]*(?:sql|sqlite)?[ \t]*\n(.*?)```", re.S | re.I)
_PLAIN = re.compile(r"\s*(?:select|with)\b", re.I)

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Two tables, the second of which points to the first, and what their columns hold."""

    schema: str
    table: str
    name: str
    """Column with a name of its own in each row."""
    group: str
    """Column with one of `groups`."""
    groups: tuple[str, ...]
    ranges: Mapping[str, tuple[int, int]]
    """The first table's further columns, of numbers; the first of them is asked about."""
    child: str
    amount: str
    """Column of the second table, of numbers from 1 to 60."""

    @property
    def number(self) -> str:
        """The column of numbers that is asked about."""
        return next(iter(self.ranges))

    @property
    def joined(self) -> str:
        """Both tables, row by row of the second."""
        return f"{self.table} JOIN {self.child} ON {self.child}.{self.table}_id = {self.table}.id"


DATABASES = {
    "shop": Database(
        schema="""\
CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT, category TEXT, price REAL, stock INTEGER);
CREATE TABLE sale (id INTEGER PRIMARY KEY, product_id INTEGER REFERENCES product (id), quantity INTEGER);""",
        table="product", name="name", group="category", groups=("toys", "tools", "tea", "lamps"),
        ranges={"price": (1, 99), "stock": (0, 60)}, child="sale", amount="quantity",
    ),
    "clinic": Database(
        schema="""\
CREATE TABLE doctor (id INTEGER PRIMARY KEY, name TEXT, field TEXT, age INTEGER);
CREATE TABLE visit (id INTEGER PRIMARY KEY, doctor_id INTEGER REFERENCES doctor (id), minutes INTEGER);""",
        table="doctor", name="name", group="field", groups=("eyes", "skin", "heart", "teeth"),
        ranges={"age": (28, 66)}, child="visit", amount="minutes",
    ),
    "library": Database(
        schema="""\
CREATE TABLE book (id INTEGER PRIMARY KEY, title TEXT, genre TEXT, pages INTEGER, copies INTEGER);
CREATE TABLE loan (id INTEGER PRIMARY KEY, book_id INTEGER REFERENCES book (id), days INTEGER);""",
        table="book", name="title", group="genre", groups=("crime", "travel", "poems", "science"),
        ranges={"pages": (80, 900), "copies": (1, 6)}, child="loan", amount="days",
    ),
}  # fmt: skip
SYLLABLES = ("ka", "lo", "mi", "ra", "so", "tu", "ven", "zel")
ENDING = "Answer with one query in a ```sql block."


class SqlSettings(GymSettings):
    """What a run can set; unknown keys are refused."""

    max_steps: int = 300_000
    """Instructions of SQLite's virtual machine that one query may take on one database."""
    num_train: int = 60
    """Train tasks, at least 1; there are 60."""


class SqlGym(Gym):
    """Asks for SQL queries; see the head of this file for what is right and what a query may do."""

    Settings = SqlSettings
    settings: SqlSettings
    needs = Needs(wall_seconds=20.0, cpu_seconds=10.0, memory_bytes=1 << 30)
    components: ClassVar[Mapping[str, str]] = {"ran": "1 where the query ran on all databases, right or wrong"}

    def __init__(self, settings: SqlSettings, services: Services) -> None:
        super().__init__(settings, services)
        if settings.max_steps < STEPS_PER_CALL or settings.num_train < 1:
            raise ValueError(f"max_steps must be at least {STEPS_PER_CALL}, num_train at least 1; got {settings}")
        if sqlite3.sqlite_version_info < (3, 31):
            raise ValueError(f"SQLite {sqlite3.sqlite_version} has no hard_heap_limit; 3.31 or newer is needed")
        self._files: dict[str, list[Path]] = {}
        self._own_folder: tempfile.TemporaryDirectory[str] | None = None

    def tasks(self, split: Split) -> Sequence[Task]:
        if split == "heldout":
            return _tasks("library")
        return [task for pair in zip(_tasks("shop"), _tasks("clinic"), strict=True) for task in pair][
            : self.settings.num_train
        ]

    def score(self, task: Task, response: str) -> Score:
        database, own, is_ordered = (task.data.get(key) for key in ("database", "query", "ordered"))
        if database not in DATABASES or not isinstance(own, str):
            return Score(status=Status.BAD_TASK, detail=f"task {task.id!r} names no database and query of this gym")
        if len(response) > MAX_RESPONSE_CHARS:
            return Score(status=Status.TOO_COMPLEX, detail=f"the response has over {MAX_RESPONSE_CHARS} characters")
        query = query_of(response)
        if not query:
            return Score(status=Status.NO_ANSWER, detail="the response holds no query")
        if len(query) > MAX_SQL_CHARS:
            return Score(status=Status.TOO_COMPLEX, detail=f"the query has over {MAX_SQL_CHARS} characters")
        is_right = True
        for file in self._instances(str(database)):
            expected = run(file, own, max_steps=self.settings.max_steps)
            if isinstance(expected, Score):
                return Score(status=Status.BAD_TASK, detail=f"task {task.id!r}: its own query: {expected.detail}")
            given = run(file, query, max_steps=self.settings.max_steps)
            if isinstance(given, Score):
                return given
            is_right = is_right and (given == expected if is_ordered else Counter(given) == Counter(expected))
        return Score(status=Status.OK, value=float(is_right), answer=query, components={"ran": 1.0})

    def gold(self, task: Task) -> str:
        return f"```sql\n{task.data['query']}\n```"

    def attacks(self, task: Task) -> Mapping[str, str]:
        table = DATABASES[task.data["database"]].table
        queries = {
            "a constant": "SELECT 1",
            "no row": f"SELECT id FROM {table} WHERE 0",
            "a null": "SELECT NULL",
            "everything": f"SELECT * FROM {table}",
            "a count of everything": f"SELECT count(*) FROM {table}",
            "two statements": f"{task.data['query']}; DELETE FROM {table}",
            "no end": "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
        }
        return {name: f"```sql\n{query}\n```" for name, query in queries.items()}

    def _instances(self, database: str) -> list[Path]:
        """Files of the databases, written when they are first asked for: into the scratch folder of a worker."""
        if database not in self._files:
            folder = self.services.scratch
            if folder is None:
                self._own_folder = self._own_folder or tempfile.TemporaryDirectory(prefix="sql-gym-")
                folder = Path(self._own_folder.name)
            self._files[database] = [folder / f"{database}-{number}.sqlite" for number in NUM_ROWS]
            for number, file in zip(NUM_ROWS, self._files[database], strict=True):
                fill(file, DATABASES[database], random.Random(f"{database} {number}"), num_rows=number)
        return self._files[database]


def query_of(response: str) -> str:
    """The query in the last fenced block behind the thoughts, or the whole text where it begins like one; else ''."""
    said = final_text(response) or ""
    fenced = _FENCED.findall(said)
    if fenced:
        return fenced[-1].strip()
    return said.strip() if _PLAIN.match(said) else ""


def run(file: Path, query: str, *, max_steps: int) -> Rows | Score:
    """The rows that a query gives, or the model's fault. The connection is its own and ends with it."""
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += STEPS_PER_CALL
        return steps > max_steps  # True interrupts

    link = sqlite3.connect(f"file:{quote(str(file))}?mode=ro&immutable=1", uri=True)
    try:
        link.execute(f"PRAGMA hard_heap_limit = {HEAP_BYTES}")
        link.execute("PRAGMA temp_store = MEMORY")  # a large sort meets the heap's limit and fills no disk
        for limit, most in LIMITS.items():
            link.setlimit(limit, most)
        link.set_authorizer(_allowed)
        link.set_progress_handler(count, STEPS_PER_CALL)
        rows = link.execute(query).fetchmany(MAX_ROWS + 1)
    except (MemoryError, sqlite3.DataError) as error:
        return Score(status=Status.TOO_COMPLEX, detail=f"the query is too large: {error}"[:300])
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:  # ValueError: text that is no UTF-8, or holds NUL
        is_over = steps > max_steps
        told = f"over {max_steps} steps" if is_over else str(error)
        return Score(status=Status.TIMEOUT if is_over else Status.INVALID_ANSWER, detail=f"the query: {told}"[:300])
    finally:
        link.close()
    if len(rows) > MAX_ROWS:
        return Score(status=Status.TOO_COMPLEX, detail=f"the query gives over {MAX_ROWS} rows")
    return [tuple(float(f"{value:.9g}") if isinstance(value, float) else value for value in row) for row in rows]


def _allowed(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """What SQLite asks before each thing that a statement does; for a function, `second` is its name."""
    is_allowed = action in READING and not (
        action == sqlite3.SQLITE_FUNCTION and str(second).lower() in REFUSED_FUNCTIONS
    )
    return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY


def fill(file: Path, database: Database, draw: random.Random, *, num_rows: int) -> None:
    """Write a database; the second table has four times as many rows, and none for six rows of the first."""
    names = draw.sample([a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES], num_rows)
    link = sqlite3.connect(file)
    try:
        link.executescript(database.schema)
        for number, name in enumerate(names, start=1):
            row = (
                number,
                name,
                draw.choice(database.groups),
                *(draw.randint(*ends) for ends in database.ranges.values()),
            )
            link.execute(f"INSERT INTO {database.table} VALUES ({', '.join('?' * len(row))})", row)
        for number in range(1, 4 * num_rows + 1):
            row = (number, draw.randint(1, num_rows - 6), draw.randint(1, 60))
            link.execute(f"INSERT INTO {database.child} VALUES (?, ?, ?)", row)
        link.commit()
    finally:
        link.close()


Asked = tuple[str, str, bool]
"""A question, a query that answers it, and whether the order of the rows counts."""


def _about_group(of: Database, group: str) -> list[Asked]:
    rows = f"FROM {of.table} WHERE {of.group} = '{group}'"
    of_group = f"with the {of.group} {group!r}"
    total = f"SELECT sum({of.child}.{of.amount}) FROM {of.joined} WHERE {of.table}.{of.group} = '{group}'"
    return [
        (f"How many {of.table}s have the {of.group} {group!r}?", f"SELECT count(*) {rows}", False),
        (
            f"List the {of.name}s of the {of.table}s {of_group}, in alphabetical order.",
            f"SELECT {of.name} {rows} ORDER BY {of.name}",
            True,
        ),
        (
            f"What is the largest {of.number} among the {of.table}s {of_group}, and what the average?",
            f"SELECT max({of.number}), avg({of.number}) {rows}",
            False,
        ),
        (f"What is the sum of {of.amount} over all {of.child}s of {of.table}s {of_group}?", total, False),
    ]


def _about_count(of: Database, least: int) -> list[Asked]:
    counted = f"SELECT {of.table}.{of.name}, count(*) FROM {of.joined} GROUP BY {of.table}.id"
    return [
        (
            f"Which {of.table}s have at least {least} {of.child}s? Give the {of.name} of each, and how many it has.",
            f"{counted} HAVING count(*) >= {least}",
            False,
        ),
        (
            f"Give the {of.name}s of the first {least} {of.table}s by {of.number}, largest first, ties by {of.name}.",
            f"SELECT {of.name} FROM {of.table} ORDER BY {of.number} DESC, {of.name} LIMIT {least}",
            True,
        ),
    ]


def _about_all(of: Database) -> list[Asked]:
    average = f"(SELECT avg({of.number}) FROM {of.table})"
    longest = f"(SELECT max(length({of.name})) FROM {of.table})"
    return [
        (
            f"Which {of.table}s have no {of.child}? Give their {of.name}s.",
            f"SELECT {of.name} FROM {of.table} WHERE id NOT IN (SELECT {of.table}_id FROM {of.child})",
            False,
        ),
        (
            f"For each {of.group}, how many {of.table}s are there? Give the {of.group} and the number.",
            f"SELECT {of.group}, count(*) FROM {of.table} GROUP BY {of.group}",
            False,
        ),
        (
            f"Give the {of.name} and the {of.number} of each {of.table} whose {of.number} is above the average of all.",
            f"SELECT {of.name}, {of.number} FROM {of.table} WHERE {of.number} > {average}",
            False,
        ),
        (
            f"What is the longest {of.name} of a {of.table}? Give all that are as long.",
            f"SELECT {of.name} FROM {of.table} WHERE length({of.name}) = {longest}",
            False,
        ),
    ]


def _tasks(database: str) -> list[Task]:
    """The 30 tasks about one database."""
    of = DATABASES[database]
    asked = _about_all(of)
    asked += [item for group in of.groups for item in _about_group(of, group)]
    asked += [item for least in (2, 3, 4, 5, 6) for item in _about_count(of, least)]
    return [
        Task(
            id=f"{database}/{number}",
            prompt=(message("user", f"A database in SQLite:\n\n{of.schema}\n\n{question}\n\n{ENDING}"),),
            data={"database": database, "query": query, "ordered": is_ordered},
        )
        for number, (question, query, is_ordered) in enumerate(asked)
    ]
