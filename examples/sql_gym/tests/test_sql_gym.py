"""The gym keeps the contract, pays every query that means the same, and nothing that a query can do harms or pays."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gyms.api import Status, Task
from gyms.testing import check_gym, open_gym

FILE = Path(__file__).parents[1] / "sql_gym.py"


@pytest.fixture(scope="module")
def gym():
    return open_gym(FILE)


def asked(gym, words: str) -> Task:
    """The first task about the shop with these words in its question."""
    return next(task for task in gym.tasks("train") if words in task.prompt[0]["content"] and "shop" in task.id)


def answer(query: str) -> str:
    return f"I join the tables.\n```sql\n{query}\n```\nThat is all."


def test_the_gym_keeps_the_contract(gym):
    check_gym(gym)
    assert len(gym.tasks("train")) == 60 and len(gym.tasks("heldout")) == 30


@pytest.mark.parametrize(
    ("words", "query", "value"),
    [
        ("How many products have the category 'toys'", "SELECT sum(category = 'toys') AS n FROM product;", 1.0),
        ("How many products have the category 'toys'", "SELECT count(*) FROM product WHERE category = 'tea'", 0.0),
        (
            "have no sale",
            "select p.name from product p left join sale s on s.product_id = p.id where s.id is null",
            1.0,
        ),
        ("have no sale", "SELECT name FROM product WHERE id > 44", 0.0),
        ("alphabetical order", "SELECT name FROM product WHERE category = 'toys' ORDER BY 1 -- by name", 1.0),
        ("alphabetical order", "SELECT name FROM product WHERE category = 'toys' ORDER BY 1 DESC", 0.0),
        ("For each category", "SELECT category, count(id) FROM product GROUP BY 1 ORDER BY 2 DESC", 1.0),
        ("For each category", "SELECT count(*), category FROM product GROUP BY category", 0.0),
        ("For each category", "SELECT category, count(*) FROM product, (SELECT 1 UNION SELECT 2) GROUP BY 1", 0.0),
        ("what the average", "SELECT max(price), sum(price) / count(*) FROM product WHERE category = 'toys'", 1.0),
    ],
)
def test_a_query_is_judged_by_the_rows_that_it_gives(gym, words, query, value):
    score = gym.score(asked(gym, words), answer(query))
    assert (score.status, score.value) == (Status.OK, value), score


def test_rows_count_as_often_as_they_come(gym):
    task = asked(gym, "have no sale")
    own = task.data["query"]
    assert gym.score(task, answer(own)).value == 1.0
    assert gym.score(task, answer(f"{own} UNION ALL {own}")).value == 0.0


def test_no_constant_is_right_on_all_databases(gym):
    for split in ("train", "heldout"):
        for task in gym.tasks(split):
            gym.score(task, gym.gold(task))
            results = []
            for file in gym.services.scratch.glob(f"{task.data['database']}-*.sqlite"):
                link = sqlite3.connect(file)
                results.append(link.execute(task.data["query"]).fetchall())
                link.close()
            assert len(results) == 3 and all(results), task.id
            assert any(result != results[0] for result in results), (task.id, results)


def test_a_query_is_taken_from_its_block_or_is_all_there_is(gym):
    task = asked(gym, "For each category")
    own = task.data["query"]
    assert gym.score(task, own).value == 1.0
    assert gym.score(task, f"<think>```sql\nSELECT 1\n```</think>\n```\n{own}\n```").value == 1.0
    assert gym.score(task, answer("SELECT 1") + answer(own)).value == 1.0
    assert gym.score(task, answer(own) + answer("SELECT 1")).value == 0.0
    for response in ("", f"Use {own}", f"<think>{answer(own)}", "```sql\n```"):
        assert gym.score(task, response).status is Status.NO_ANSWER


BOMB = ", ".join(f"a{i}(x) AS (SELECT x FROM a{i - 1} UNION ALL SELECT x FROM a{i - 1})" for i in range(1, 60))
HOSTILE = {
    "ATTACH DATABASE 'OUTSIDE' AS x": Status.INVALID_ANSWER,
    "VACUUM INTO 'OUTSIDE'": Status.INVALID_ANSWER,
    "PRAGMA hard_heap_limit = 0": Status.INVALID_ANSWER,
    "SELECT * FROM pragma_database_list": Status.INVALID_ANSWER,
    "DELETE FROM sale": Status.INVALID_ANSWER,
    "DROP TABLE product": Status.INVALID_ANSWER,
    "CREATE TEMP TABLE t (a)": Status.INVALID_ANSWER,
    "INSERT INTO sale SELECT * FROM sale": Status.INVALID_ANSWER,
    "BEGIN": Status.INVALID_ANSWER,
    "SELECT load_extension('OUTSIDE')": Status.INVALID_ANSWER,
    "SELECT random()": Status.INVALID_ANSWER,
    "SELECT 1; SELECT 2": Status.INVALID_ANSWER,
    "SELECT name FROM customer": Status.INVALID_ANSWER,
    "SELECT 'half": Status.INVALID_ANSWER,
    "SELECT '\x00'": Status.INVALID_ANSWER,
    "SELECT '\ud800'": Status.INVALID_ANSWER,
    "SELECT CAST(x'ff' AS TEXT)": Status.INVALID_ANSWER,
    "SELECT " + "(" * 1500 + "1" + ")" * 1500: Status.INVALID_ANSWER,
    "-- nothing": Status.OK,
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r": Status.TIMEOUT,
    "SELECT count(*) FROM sale a, sale b, sale c, sale d": Status.TIMEOUT,
    "SELECT a.id FROM sale a, sale b": Status.TOO_COMPLEX,
    "SELECT hex(zeroblob(900000000))": Status.TOO_COMPLEX,
    "SELECT replace(hex(zeroblob(900)), '0', hex(zeroblob(900)))": Status.TOO_COMPLEX,
    f"WITH a0(x) AS (SELECT 1), {BOMB} SELECT x FROM a59": Status.TOO_COMPLEX,
    "SELECT " + "1, " * 5000 + "1": Status.TOO_COMPLEX,
}


@pytest.mark.parametrize("query", HOSTILE, ids=[query[:30] for query in HOSTILE])
def test_what_a_query_may_not_do_is_its_own_fault_and_does_nothing(gym, query, tmp_path):
    task = asked(gym, "For each category")
    gym.score(task, "SELECT 1")
    files = {file: file.read_bytes() for file in gym.services.scratch.iterdir()}
    score = gym.score(task, answer(query.replace("OUTSIDE", str(tmp_path / "new"))))
    assert score.status is HOSTILE[query] and not score.value, score
    assert list(tmp_path.iterdir()) == []
    assert {file: file.read_bytes() for file in gym.services.scratch.iterdir()} == files
    assert gym.score(task, gym.gold(task)).value == 1.0


def test_a_runaway_query_ends_by_steps_and_not_by_the_clock(gym):
    query = answer("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r")
    few, many = open_gym(FILE, max_steps=1_000), open_gym(FILE, max_steps=10_000)
    for small in (few, many):
        score = small.score(asked(small, "For each category"), query)
        assert score.status is Status.TIMEOUT and f"over {small.settings.max_steps} steps" in score.detail
    own = asked(many, "have no sale")
    assert many.score(own, many.gold(own)).value == 1.0


def test_a_task_whose_own_query_fails_is_ours(gym):
    task = Task(id="x", prompt=(), data={"database": "shop", "query": "SELECT colour", "ordered": False})
    score = gym.score(task, "SELECT 1")
    assert score.status is Status.BAD_TASK and "its own query: the query: no such column: colour" in score.detail
    assert gym.score(Task(id="y", prompt=(), data={}), "SELECT 1").status is Status.BAD_TASK


def test_no_attack_of_the_gym_itself_pays(gym):
    for task in gym.tasks("heldout"):
        for name, response in gym.attacks(task).items():
            assert not gym.score(task, response).value, (task.id, name)
