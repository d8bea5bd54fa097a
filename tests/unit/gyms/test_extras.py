"""What a light installation leaves out is said in one line, with the command that brings it."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gyms.extras import ADAPTERS, EXTRAS, check_installed, require
from gyms.load import load_gym
from gyms.logic import gym as logic
from reward.judges.load import load_judge
from reward.judges.prompted import PromptSettings

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
MISSING = "k2rl_no_such_library"


def named(requirements: list[str]) -> set[str]:
    """Import names, as far as they are the distributions' names in another dress."""
    return {re.split(r"[\[<>=~! ]", text)[0].replace("-", "_") for text in requirements}


def test_every_library_is_brought_by_the_extra_that_the_table_names() -> None:
    extras = PROJECT["optional-dependencies"]
    assert {name: extra for name, extra in EXTRAS.items() if name not in named(extras[extra])} == {}
    brought = {name: extras[extra] for name, extra in ADAPTERS.items()}
    assert {name: found for name, found in brought.items() if not any(name in one for one in named(found))} == {}


def test_a_run_needs_no_adapter() -> None:
    extras = PROJECT["optional-dependencies"]
    assert not set(ADAPTERS) & set(EXTRAS) and not named(extras["train"]) & set(ADAPTERS)


def test_no_library_of_the_table_is_in_a_light_installation() -> None:
    assert named(PROJECT["dependencies"]) & set(EXTRAS) == set()


def test_train_brings_what_single_gyms_and_judges_need() -> None:
    extras = PROJECT["optional-dependencies"]
    (inner,) = [text for text in extras["train"] if text.startswith("k2rl[")]
    assert set(inner.removeprefix("k2rl[").removesuffix("]").split(",")) == {"logic", "hub", "judge", "report"}
    assert "k2rl[train]" in extras["cpu"] and "k2rl[train]" in extras["gpu"]


USERS = {
    "datasets": [
        ("gsm8k", {"source": "openai/gsm8k"}, "source = 'openai/gsm8k' needs datasets"),
        ("chat", {"source": "a/b", "columns": {"prompt": "text"}}, "source = 'a/b' needs datasets"),
        ("code", {"source": "a/b"}, "source = 'a/b' needs datasets"),
        ("constraints", {"source": "a/b"}, "source = 'a/b' needs datasets"),
    ],
    "mcp": [("gyms.adapters.mcp:Mcp", {"command": ["x"]}, "the environment `mcp` needs mcp")],
    "openenv": [("gyms.adapters.openenv:OpenEnv", {"url": "http://x"}, "the environment `openenv` needs openenv")],
    "reasoning_gym": [
        ("logic", {}, "the gym 'logic' needs reasoning-gym"),
        ("reasoning_gym:chain_sum", {}, "the gym 'logic' needs reasoning-gym"),
    ],
}


@pytest.mark.parametrize(
    ("library", "gym", "args", "message"), [(k, *user) for k, users in USERS.items() for user in users]
)
def test_a_gym_without_its_library_names_it_and_the_command(
    library: str, gym: str, args: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # Python's way to say that there is no such module
    logic.library.cache_clear()
    extra = {**EXTRAS, **ADAPTERS}[library]
    command = rf"not installed here: pip install .*\[{extra}\]'$"
    with pytest.raises(ValueError, match=f"{re.escape(message)}, {command}") as caught:
        load_gym("g", gym, args).tasks("train")
    assert "\n" not in str(caught.value)


def test_a_served_judge_without_its_library_names_it_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(
        ValueError, match=r"^judge 'openai:m@http://x/v1' needs httpx, not installed here: pip .*\[judge\]'$"
    ):
        load_judge("openai:m@http://x/v1", PromptSettings())
    assert load_judge("longer", PromptSettings())


def test_many_missing_libraries_are_still_one_line_and_an_extra_can_be_chosen() -> None:
    names = [f"{MISSING}_{number}" for number in range(9)]
    with pytest.raises(
        ValueError, match=r"a run needs .*-0, .*-1, .*-2 and 6 more, .*\[cpu\]'; with a CUDA device gpu"
    ):
        check_installed(names, user="a run", extra="cpu")


def test_a_library_that_is_there_is_imported() -> None:
    assert require("json.decoder", user="this test").JSONDecoder
    check_installed(["pydantic", "rich"], user="this test")
