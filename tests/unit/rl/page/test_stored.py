"""Rows of samples, as this version and others write them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gyms.api import Status
from rl.page.folder import read_run
from rl.page.stored import PlayedTurn, Stretch, number, read_samples
from tests.run_folders import response, siblings, write_run

DOCUMENT = Path(__file__).parents[4] / "docs" / "metrics.md"


def stored(tmp_path, **columns):
    folder = write_run(tmp_path / "run", [[siblings(0, response("abc", **columns))]])
    ((sample,), num_bad) = read_samples(read_run(folder.path).rollouts[0])
    assert num_bad == 0
    return sample


def test_the_tests_rows_have_every_documented_column():
    (table,) = re.findall(r"^## rollouts/.*?\n\n(\|.*?)\n\n", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    columns = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
    (row,) = siblings(0, response("3"))
    assert len(columns) > 15 and set(columns) <= set(row)


def test_columns_that_a_version_did_not_write_have_neutral_values(tmp_path):
    file = tmp_path / "step_000000.jsonl"
    file.write_text('{"step": 0, "draw": 1, "k": 0, "gym": "sums", "response": "\\ud800", "reward": NaN, "new": 1}\n')
    (sample,), _ = read_samples(file)
    assert (sample.reward, sample.token_ids, sample.flags, sample.prompt, sample.value) == (0.0, (), (), (), None)
    assert sample.response == "\ud800"


def test_what_the_update_made_of_a_sample_is_taken_from_its_row(tmp_path):
    learned = stored(tmp_path, minibatch=1, advantage=0.75, old_logprobs=[-0.5, -1.0, -1.5])
    assert (learned.advantage, learned.old_logprobs) == (0.75, (-0.5, -1.0, -1.5))
    assert stored(tmp_path, minibatch=1, advantage=None).advantage == 0.0  # out of the loss
    assert stored(tmp_path).advantage is None  # not learned from yet


def test_lists_that_are_not_as_long_as_the_tokens_are_not_theirs(tmp_path):
    sample = stored(tmp_path, old_logprobs=[-0.5], segments=[{"num_tokens": 2, "is_sampled": True}])
    assert (sample.old_logprobs, sample.stretches) == ((), ())


@pytest.mark.parametrize("column", ["token_ids", "logprobs", "old_logprobs"])
@pytest.mark.parametrize("odd", [float("nan"), float("-inf"), 10**400], ids=["nan", "inf", "huge"])
def test_a_list_with_a_number_that_is_not_finite_is_empty(tmp_path, column, odd):
    sample = stored(tmp_path, **{column: [1, odd, 2]})
    assert getattr(sample, column) == () and sample.response == "abc"


def test_an_episode_has_its_turns_and_says_who_wrote_which_tokens(tmp_path):
    call = {"id": "call_0_0", "tool": "add", "arguments": {"a": 1, "b": 2}}
    unread = {"id": "call_1_0", "tool": "add", "arguments": None, "problem": "no number"}
    answer = {"role": "tool", "tool_call_id": "call_0_0", "name": "add", "content": "3"}
    sample = stored(
        tmp_path,
        segments=[
            {"num_tokens": 2, "is_sampled": True, "temperature": 1.0, "weight_version": 4},
            {"num_tokens": 1, "is_sampled": False, "temperature": 1.0, "weight_version": 5},
        ],
        episode={
            "seed": 1,
            "turns": [{"text": "so", "calls": [call]}, {"text": "", "calls": [unread]}],
            "replies": [[answer]],
        },
    )
    assert sample.stretches == (Stretch(2, True, 4), Stretch(1, False, 5))
    assert sample.turns == (
        PlayedTurn("so", ('add({"a": 1, "b": 2})',), (("tool add", "3"),)),
        PlayedTurn("", ("add(could not be read: no number)",), ()),
    )


@pytest.mark.parametrize("value", [None, "3", True, float("nan"), float("inf"), 10**400, [1]])
def test_what_is_no_finite_number_is_none(value):
    assert number(value) is None


def test_the_status_of_a_fault_is_kept(tmp_path):
    fault = response("", status=Status.VERIFIER_ERROR, detail="hung", flags=["a", "b"])
    folder = write_run(tmp_path / "run", [[siblings(0, fault, response("3"))]])
    (first, _), _ = read_samples(read_run(folder.path).rollouts[0])
    assert (first.status, first.is_masked, first.detail, first.flags) == ("verifier_error", True, "hung", ("a", "b"))
