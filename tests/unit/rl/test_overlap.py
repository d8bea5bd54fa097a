"""Contamination: what counts as the same problem, what counts as a template, and what becomes of it."""

from __future__ import annotations

import json

import pytest

from configs.prompts import OverlapConfig
from rl.overlap import Problems, check_overlap, digest, file_texts, ngrams, words
from tests.unit.rl.listed import ListedGym, entry, task

LONG = "a farmer has twelve hens and sells nine eggs on every morning of the week at the market"  # 18 words
OTHER = "at what time does the last train from the old harbour reach the northern terminal"


def check(train, heldout=(), *, rule="report", benchmarks=(), ngram=13):
    return check_overlap(OverlapConfig(rule=rule, ngram=ngram), [entry("g", train, heldout)], benchmarks)


def test_words_forget_case_and_punctuation_but_no_sign_and_no_digit():
    assert words("What is  3.5 + 4?") == ("what", "is", "3.5", "+", "4")
    assert words("So: (a-b)^2, 'ok'!") == ("so", "(", "a", "-", "b", ")", "^", "2", "ok")
    assert words("3 + 4") != words("3 - 4") and words("1,234") != words("1.234") and words("35") != words("3.5")


def test_ngrams_are_all_stretches_of_a_length():
    assert list(ngrams(("a", "b", "c"), 2)) == [("a", "b"), ("b", "c")]
    assert list(ngrams(("a",), 2)) == []


def test_problems_share_thirteen_words_in_a_row_or_all():
    known = Problems(13)
    known.add(LONG, "here")
    known.add("What is 3 + 4?", "there")
    thirteen, twelve = " ".join(LONG.split()[2:15]), " ".join(LONG.split()[2:14])
    assert known.shared(f"Yesterday {thirteen} again") and not known.shared(f"Yesterday {twelve} again")
    assert known.equal("what is 3 + 4") == "there" and known.equal("what is 3 - 4") is None
    assert known.equal(twelve) is None


def test_the_start_says_how_many_training_tasks_stand_elsewhere():
    train = [task("a", LONG.upper()), task("b", f"Think. {LONG}, so?"), task("c", OTHER), task("d", "What is 2?")]
    found, notes = check(train, [task("h", LONG)], benchmarks=[("what is 2", "bench.jsonl:7")])
    assert found["g"].found == {
        "a": "held-out task 'h'", "b": "shares 13 words in a row with held-out task 'h'", "d": "bench.jsonl:7"
    }  # fmt: skip
    assert notes == ["gyms.0 (g): 3 of 4 training tasks stand in other data too (task 'a': held-out task 'h')"]
    assert [found["g"].where(one) is not None for one in train] == [True, True, False, True]


def test_tasks_that_are_there_twice_are_told_and_all_but_the_first_are_dropped():
    found, notes = check([task("a", "One?"), task("b", "Two?"), task("c", "one")], rule="drop")
    assert found["g"].doubles == {"c": "as 'a'"}
    assert notes == ["gyms.0 (g): 1 of 3 training tasks are there twice (task 'c': as 'a'): dropped"]
    assert [found["g"].where(one) for one in (task("a", "One?"), task("c", "one"))] == [None, "as 'a'"]


def test_words_of_a_template_betray_nothing_but_equality_does():
    template = "answer with one number alone and nothing else at all please for the following sum {}"
    train = [task(f"t{i}", template.format(f"{i} + 1")) for i in range(30)]
    found, _ = check(train, [task("h", template.format("99 + 1")), task("i", template.format("7 + 1"))])
    assert found["g"].found == {"t7": "held-out task 'i'"}
    assert found["g"].where(task("new", template.format("98 + 1"))) is None


def test_a_gym_that_knows_what_is_the_same_problem_is_believed():
    class Knowing(ListedGym):
        def fingerprint(self, task):
            return task.id

    same = [task("a", "Go on."), task("b", "Go on.")]
    one = entry("g", same, [task("h", "Go on.")])
    knowing = type(one)(name="g", gym=Knowing(same, [task("h", "Go on.")]), share=1.0, budget=8)
    found, notes = check_overlap(OverlapConfig(), [knowing], ())
    assert not notes and found["g"].where(same[1]) is None
    assert len(check_overlap(OverlapConfig(), [one], ())[1]) == 2
    assert len(check_overlap(OverlapConfig(), [knowing], [("go on", "bench:1")])[1]) == 1  # it knows no benchmark


def test_problems_that_a_gym_calls_the_same_are_no_doubles_where_their_texts_differ():
    class Commutative(ListedGym):
        def fingerprint(self, task):
            return "+".join(sorted(task.id.split("+")))

    sums = [task("3+4"), task("4+3"), task("3 + 4")]
    one = entry("g", sums)
    found, _ = check_overlap(
        OverlapConfig(), [type(one)(name="g", gym=Commutative(sums), share=1.0, budget=8)], ()
    )  # fmt: skip
    assert found["g"].doubles == {}  # the third differs for the gym, the second for whoever reads it


def test_refuse_drop_and_off_do_what_they_say():
    train, held = [task("a", LONG), task("b", OTHER)], [task("h", LONG)]
    with pytest.raises(ValueError, match=r"1 of 2 training tasks .* set overlap.rule"):
        check(train, held, rule="refuse")
    assert check(train, held, rule="drop")[1][0].endswith(": dropped")
    with pytest.raises(ValueError, match="would leave no training task"):
        check(train[:1], held, rule="drop")
    assert check(train, held, rule="off") == ({}, [])


def test_benchmark_files_give_their_problems(tmp_path):
    rows = [{"id": 1, "question": "Why?"}, {"id": 2, "messages": [
        {"role": "system", "content": "S"}, {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I"}
    ]}, {"id": 3}]  # fmt: skip
    file = tmp_path / "bench.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [text for text, _ in file_texts([file])] == ["Why?", "Who?"]
    assert digest(file_texts([file])) != digest([("Why?", "")])
    file.write_text(json.dumps({"id": 3, "answer": "5"}) + "\n")
    with pytest.raises(ValueError, match=r"overlap.files: .* wanted one of the columns problem, .* has answer, id"):
        file_texts([file])
    with pytest.raises(ValueError, match="there is no file"):
        file_texts([tmp_path / "none.jsonl"])
