"""Samples go into parts and come out whole; the choice of a large run's is a function of the folder."""

from __future__ import annotations

import base64
import gzip
import json

import pytest

from gyms.api import Status
from rl.page import chunks
from rl.page.chunks import advantages_of, compressed, index_of, parts_of, spaced
from rl.page.stored import read_samples
from rl.page.summary import groups_of
from rl.page.vocabulary import pieces_of
from tests.run_folders import response, siblings, write_run


def opened(text):
    return json.loads(gzip.decompress(base64.b64decode(text)))


@pytest.fixture
def stored(tmp_path):
    def store(*groups):
        folder = write_run(tmp_path / "run", [groups])
        samples, _ = read_samples(folder.rollouts / "step_000000.jsonl")
        return list(groups_of(samples))

    return store


def test_a_part_holds_texts_and_tokens_of_whole_groups(stored):
    hostile = "</script><img src=x onerror=alert(1)>"
    first = siblings(
        4, response(hostile, token_ids=(7, 9), logprobs=(-0.1234, -2.0), components={"right": 1.0}), response("no", 0.0)
    )
    second = siblings(5, response("", status=Status.NO_ANSWER, detail="nothing", flags=["a", "b"]), gym="words")
    (part,) = parts_of(stored(first, second), {})
    texts, tokens = opened(part.texts), opened(part.tokens)
    assert texts["groups"] == [
        {"task": "sums/4", "prompt": [["user", "1+2="]], "num": 2},
        {"task": "words/5", "prompt": [["user", "1+2="]], "num": 1},
    ]
    assert [sample["text"] for sample in texts["samples"]] == [hostile, "no", ""]
    assert texts["samples"][0]["components"] == {"right": 1.0} and texts["samples"][2]["detail"] == "nothing"
    assert tokens["ids"][0] == [7, 9] and tokens["logprobs"][0] == [-123, -2000] and tokens["learner"] == [[], [], []]
    assert part.ids == {7, 9, 1, 2}
    index = index_of([part, part])
    assert index["gym"] == [0, 0, 1] * 2 and index["gyms"] == ["sums", "words"]
    assert index["statuses"] == ["ok", "no_answer"] and index["flag_sets"] == ["", "a b"]
    assert index["reward"] == [1.0, 0.0, 0.0] * 2 and index["adv"] == [0.5, -0.5, 0.0] * 2


def test_of_the_parts_of_a_score_the_first_that_failed_are_told_and_all_are_counted(stored, monkeypatch):
    monkeypatch.setattr(chunks, "MAX_FAILED", 2)
    cases = [{"id": f"case {i}", "passed": i < 3, "reason": "" if i < 3 else "got 4"} for i in range(6)]
    (part,) = parts_of(stored(siblings(0, response("a", cases=cases, provenance={"rubric": "core@1"}))), {})
    (card,) = opened(part.texts)["samples"]
    assert card["cases"] == {"passed": 3, "all": 6, "failed": [["case 3", "got 4"], ["case 4", "got 4"]]}
    assert card["provenance"] == {"rubric": "core@1"}


def test_log_probabilities_of_the_learner_are_kept_where_a_row_has_them(tmp_path):
    folder = write_run(tmp_path / "run", [[siblings(0, response("ab", logprobs=(-0.5, -1.0)))]])
    file = folder.rollouts / "step_000000.jsonl"
    row = json.loads(file.read_text())
    for learner, kept in (([-0.4, -1.1], [[-400, -1100]]), ([-0.4], [[]])):  # of another length: not these tokens'
        file.write_text(json.dumps(row | {"old_logprobs": learner}) + "\n")
        (part,) = parts_of(list(groups_of(read_samples(file)[0])), {})
        assert opened(part.tokens)["learner"] == kept and part.has_gap == any(kept)


def test_observations_and_turns_of_an_episode_are_kept_apart(stored):
    segments = [{"num_tokens": n, "is_sampled": n != 1, "weight_version": 3} for n in (2, 1)]
    episode = {"turns": [{"text": "hm"}], "replies": [[{"role": "user", "content": "go on"}]]}
    (part,) = parts_of(stored(siblings(0, response("abc", segments=segments, episode=episode, num_tokens=2))), {})
    (card,) = opened(part.texts)["samples"]
    assert card["turns"] == [{"text": "hm", "calls": [], "replies": [["user", "go on"]]}]
    assert (card["tokens"], card["all"]) == (2, 3)
    assert opened(part.tokens)["stretches"] == [[[2, True, 3], [1, False, 3]]]


def test_parts_are_cut_between_groups(stored, monkeypatch):
    monkeypatch.setattr(chunks, "PART_BYTES", 400)
    groups = stored(*(siblings(n, response("x" * 50), response("y" * 50)) for n in range(5)))
    parts = parts_of(groups, {})
    assert [[row.draw for row in part.rows] for part in parts] == [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4]]
    assert sum(len(opened(part.texts)["samples"]) for part in parts) == 10


def test_a_long_response_is_cut_and_says_how_long_it_was(stored, monkeypatch):
    monkeypatch.setattr(chunks, "MAX_CHARS", 10)
    monkeypatch.setattr(chunks, "MAX_TOKENS", 3)
    (part,) = parts_of(stored(siblings(0, response("abcdefghijklmno"))), {})
    (card,) = opened(part.texts)["samples"]
    assert (card["text"], card["chars"], card["tokens"]) == ("abcdefghij", 15, 15)
    assert opened(part.tokens)["ids"] == [[1, 2, 3]] and part.ids == {1, 2, 3}


def test_advantages_are_those_of_the_runs_own_baseline(stored):
    groups = stored(siblings(0, response("a"), response("b", 0.0), response("c", 0.0), response("d", 0.0)))
    assert advantages_of(groups, {}) == [0.75, -0.25, -0.25, -0.25]
    config = {"learner": {"baseline": "leave_one_out"}}
    assert advantages_of(groups, config) == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])
    assert advantages_of(groups, {"learner": {"baseline": "of another version"}}) == [0.75, -0.25, -0.25, -0.25]
    told = stored(
        siblings(0, response("a", minibatch=0, advantage=0.5), response("b", 0.0, minibatch=0, advantage=-2.0))
    )
    assert advantages_of(told, {}) == [0.5, -2.0]


def test_of_too_many_groups_evenly_spaced_ones_are_kept_whatever_the_step(stored):
    groups = stored(*(siblings(n, response("a")) for n in range(10)))
    assert spaced(groups, 1.0) == groups and spaced([], 0.5) == []
    assert [group[0].draw for group in spaced(groups, 0.3)] == [3, 6, 9]
    assert spaced(groups[:5], 0.3) + spaced(groups[5:], 0.3) == spaced(groups, 0.3)
    assert spaced(groups, 0.001) == []


def test_the_same_data_are_the_same_bytes_and_hold_no_markup():
    text = compressed({"text": "</script><!--\ud800\u2028"})
    assert text == compressed({"text": "</script><!--\ud800\u2028"})
    assert not set(text) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


def test_what_a_browser_could_not_read_is_never_stored():
    with pytest.raises(ValueError, match="not JSON compliant"):
        compressed({"x": float("inf")})


def test_single_tokens_have_the_text_that_they_add(tiny_folder):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))
    ids = tokenizer.encode("12+3=", add_special_tokens=False).ids
    pieces = pieces_of(tokenizer, ids)
    assert "".join(pieces[token_id] for token_id in ids) == "12+3="
