"""A gym is opened in one line, with what it declares that it needs, and what it was given ends with it."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from gyms.api import Status
from gyms.children import children_of
from gyms.load import Keys, SpecError
from gyms.opening import opened
from gyms.testing import check_gym, open_gym

ROOT = Path(__file__).parents[3]


def test_a_gym_opens_by_name_by_path_and_by_file_with_its_settings() -> None:
    by_name = open_gym("arithmetic", max_operand=9)
    assert by_name.settings.max_operand == 9
    assert by_name.tasks("train")[0] == open_gym("gyms.arithmetic.gym:Arithmetic", max_operand=9).tasks("train")[0]
    file = ROOT / "examples" / "word_gym" / "word_gym.py"
    check_gym(open_gym(file))
    assert len(open_gym(str(file), num_heldout=2).tasks("heldout")) == 2


def test_a_gym_that_runs_programs_scores_at_once_and_takes_its_sandbox_with_it() -> None:
    before = set(children_of(os.getpid()))
    gym = open_gym("code")
    task = gym.tasks("train")[0]
    gold = gym.gold(task)
    assert gold is not None and gym.score(task, gold).value == 1.0
    own = set(children_of(os.getpid())) - before
    assert own
    del gym
    gc.collect()
    assert not own & set(children_of(os.getpid()))


def test_a_scratch_folder_is_there_as_long_as_the_gym() -> None:
    gym = open_gym("arithmetic")
    folder = gym.services.scratch
    assert folder is not None and folder.is_dir()
    (folder / "notes").write_text("x")
    del gym
    gc.collect()
    assert not folder.exists()
    with opened("arithmetic", {}) as inside:
        kept = inside.services.scratch
        assert kept is not None and kept.is_dir()
    assert not kept.exists()


def test_a_gym_that_needs_a_judge_says_what_code_can_check() -> None:
    gym = open_gym("chat")
    score = gym.score(gym.tasks("train")[0], "Certainly. Here it is.")
    assert score.status is Status.OK and "unjudged" in score.flags


def test_refusals_name_what_the_caller_wrote() -> None:
    with pytest.raises(SpecError, match=r"^gym = 'arithmetik': there is no gym of that name \(did you mean 'arith"):
        open_gym("arithmetik")
    with pytest.raises(SpecError, match=r"^settings\.max_oprand: unknown setting \(did you mean 'max_operand' or "):
        open_gym("arithmetic", max_oprand=3)
    with (
        pytest.raises(SpecError, match=r"^--args\.max_oprand: unknown setting"),
        opened("arithmetic", {"max_oprand": 3}, keys=Keys(gym="NAME", args="--args")),
    ):
        pass
