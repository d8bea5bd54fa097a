"""What pages tell people to type exists: programs, options, files, settings and targets.

`tests/contract/test_commands.py` runs what takes seconds. A page may name a file that its reader makes (`my_gym.py`,
`mine.toml`, a run folder). Configs that are shipped are loaded with the command's overrides; with others the keys of
the overrides are looked up.
"""

from __future__ import annotations

import importlib.util
import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from configs.load import load_config, setting_names
from configs.schema import Config
from configs.toml_schema import toml_schema
from gyms.load import resolve
from rl.completion import parser_of
from rl.verbs import VERBS
from tests.page_commands import PAGES, ROOT, Command, blocks, commands

COMMANDS = [command for page in PAGES for command in commands(page)]
OURS = [command for command in COMMANDS if command.module is not None and not command.module.startswith("vllm")]
WITH_CONFIG = ("rl.cli", "rl.evaluate", "rl.sweep")


def name_of(command: Command) -> str:
    return str(command)[:100]


def test_there_are_pages_and_commands() -> None:
    assert len(PAGES) > 20 and len(COMMANDS) > 50 and len(OURS) > 30


@pytest.mark.parametrize("command", OURS, ids=name_of)
def test_a_command_of_ours_has_arguments_that_its_program_takes(command: Command) -> None:
    module, arguments = command.module, list(command.arguments)
    if module in ("rl.verbs", "pytest"):
        assert set(arguments) <= {"--help", "--version"} or (ROOT / arguments[0]).exists()
        return
    assert importlib.util.find_spec(module) is not None
    parser = parser_of(module, prog="a page")
    parse = parser.parse_args if parser._subparsers is not None else parser.parse_intermixed_args
    try:
        parse(arguments)
    except SystemExit as stopped:
        assert stopped.code == 0, f"{command} is refused"


@pytest.mark.parametrize("command", [c for c in OURS if c.module in WITH_CONFIG], ids=name_of)
def test_configs_and_settings_of_a_command_exist(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = [word for word in command.arguments if not word.startswith("-")]
    files = [path for word in given if word.endswith(".toml") for path in sorted(ROOT.glob(word)) or [Path(word)]]
    overrides = [word for word in given if re.match(r"[a-z][\w.]*=", word)]
    known = [re.escape(name).replace(r"\*", "[^.]+") for name in setting_names()]
    known.append(r"gyms\.[^.]+\.args\.\w+")  # which the gym's own settings check, below
    for key in (word.partition("=")[0] for word in overrides):
        assert any(re.fullmatch(pattern, key) for pattern in known), f"{command}: {key} is no setting"
    if files and all(file.is_file() for file in files) and command.module != "rl.sweep":
        for gym in load_config(files, overrides).gyms:
            if any(word.startswith(f"gyms.{gym.name}.args.") for word in overrides):
                resolve(gym.gym).Settings.model_validate(gym.args)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.module is None], ids=name_of)
def test_what_a_command_of_another_program_names_exists(command: Command) -> None:
    program = command.words[0].rpartition("/")[2]
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert [word for word in command.words[1:] if "=" not in word and word not in targets] == []
    elif program in ("python", "python3"):
        assert (ROOT / command.words[1]).is_file()
    for word in command.words:
        if re.match(r"(?:configs|examples|benchmarks|requirements|tests)/", word):
            assert list(ROOT.glob(word)), f"{command}: there is no {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_and_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:docs|configs|examples|benchmarks|rl|gyms|reward|rollout|tests)/[\w./-]+\.\w+)`", text)
    missing = [name for name in named if not (ROOT / name).exists() and not is_left_to_the_reader(name)]
    assert missing == []
    links = re.findall(r"\]\((?!http|#)([^)#\s]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def is_left_to_the_reader(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in ("configs/mine.toml", "configs/base.toml", "configs/x.toml"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_of_a_config_that_a_page_shows_are_valid(page: Path) -> None:
    validator = Draft7Validator(toml_schema())
    for text in blocks(page, "toml"):
        data = tomllib.loads(text)
        if set(data) <= {*Config.model_fields, "base"}:
            assert [error.message for error in validator.iter_errors(data)] == [], text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_functions_and_verbs_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for file, name in re.findall(r"`((?:rl|gyms|reward|rollout|configs)/[\w/]+\.py):(\w+)`", text):
        assert re.search(rf"^(?:async )?(?:def|class) {name}\b", (ROOT / file).read_text(), re.MULTILINE), (file, name)
    assert [verb for verb in re.findall(r"`k2rl ([a-z]\w*)", text) if verb not in VERBS] == []
