"""How files and overrides add up to a config, what is said of mistakes, and what a resumed run may change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from configs.load import (
    MAY_CHANGE_ON_RESUME,
    ConfigError,
    check_same_run,
    diff,
    from_json,
    kept_on_resume,
    load_config,
    to_json,
)
from configs.schema import Config

ROOT = Path(__file__).parents[3]
BASE = """
num_steps = 7
[model]
source = "tiny"
[rollout.temperature]
start = 1.2
[[gyms]]
name = "arithmetic"
args = { max_digits = 2, sign = "+" }
[[gyms]]
name = "logic"
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base.toml", BASE)


def write(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def with_overrides(*overrides: str) -> Config:
    return load_config([], ["model.source=tiny", 'gyms=[{name="arithmetic"}, {name="logic"}]', *overrides])


def refusal(*overrides: str, files: tuple[Path, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(files, overrides) if files else with_overrides(*overrides)
    return str(caught.value)


def test_later_files_win_key_by_key_and_overrides_win_over_files(base: Path, tmp_path: Path) -> None:
    later = write(tmp_path / "later.toml", "num_steps = 8\nseed = 3\n[rollout.temperature]\nend = 0.5\n")
    config = load_config([base, later], ["seed=4"])
    assert (config.num_steps, config.seed) == (8, 4)
    assert (config.rollout.temperature.start, config.rollout.temperature.end) == (1.2, 0.5)


def test_a_later_files_gyms_replace_the_earlier_ones_as_a_whole(base: Path, tmp_path: Path) -> None:
    later = write(tmp_path / "later.toml", '[[gyms]]\nname = "code"\n')
    assert [gym.name for gym in load_config([base, later]).gyms] == ["code"]


def test_a_gym_is_reached_by_position_and_by_name(base: Path) -> None:
    config = load_config([base], ["gyms.0.budget=32", "gyms.logic.budget=64", "gyms.arithmetic.args.max_digits=3"])
    assert [gym.budget for gym in config.gyms] == [32, 64]
    assert config.gyms[0].args == {"max_digits": 3, "sign": "+"}


def test_a_table_given_to_a_table_merges_and_a_list_replaces(base: Path) -> None:
    config = load_config([base], ["rollout.temperature={end=0.7}", 'gyms=[{name="code"}]', "gyms.code={budget=9}"])
    assert (config.rollout.temperature.start, config.rollout.temperature.end) == (1.2, 0.7)
    assert [(gym.name, gym.budget) for gym in config.gyms] == [("code", 9)]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("learner.lr=0", 0.0),
        ("learner.lr=1e-5", 1e-5),
        ("learner.betas=[0.8, 0.99]", (0.8, 0.99)),
        ("learner.drop_zero_spread=false", False),
        ("learner.mismatch.correction=none", None),
        ('quant.ignore=["lm_head", "re:.*gate$"]', ("lm_head", "re:.*gate$")),
        ("report.wandb=off", "off"),
        ("report.wandb_project=a=b", "a=b"),
        ("name=2024", "2024"),
        ("name=2024-01-31", "2024-01-31"),
        ('name="quoted"', "quoted"),
        ("run_dir=/data/run 1", Path("/data/run 1")),
        ("gyms.logic.gym=my gyms/logic.py:Logic", "my gyms/logic.py:Logic"),
    ],
)
def test_an_override_is_a_toml_value_or_else_text(override: str, value: Any) -> None:
    found: Any = with_overrides(override)
    for name in override.partition("=")[0].replace("logic", "1").split("."):
        found = found[int(name)] if name.isdigit() else getattr(found, name)
    assert found == value


def test_paths_are_taken_from_the_current_directory_and_run_dir_stays_as_given(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    overrides = ["model.source=folder", "model.path=../m", "ptx.source.jsonl=~/x.jsonl", "run_dir=runs/x"]
    config = load_config([base], overrides)
    assert (config.model.path, config.run_dir) == (tmp_path / "../m", Path("runs/x"))
    assert config.ptx.source.jsonl == Path("/home/me/x.jsonl")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("learner.learning_rate", "did you mean learner.lr?"),
        ("lr", "did you mean learner.lr or warmup.lr?"),
        ("learnr.lr", "did you mean learner.lr?"),
        ("samples_per_promt", "did you mean rollout.samples_per_prompt?"),
        ("gyms.1.bugdet", "did you mean gyms.1.budget?"),
        ("gyms.1.qqq", "a gym's own settings go under gyms.1.args"),
        ("temperature", "did you mean gyms.0.temperature or rollout.temperature or judge.temperature?"),
        ("zzz", "docs/configuration.md lists all"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_ones(key: str, said: str) -> None:
    assert refusal(f"{key}=1") == f"{key} is not a setting; {said}"


@pytest.mark.parametrize("key", ["rollout.top_p", "rollout.top_k", "rollout.temperature.repetition_penalty"])
def test_samplers_of_other_distributions_are_refused_with_the_reason(key: str) -> None:
    told = refusal(f"{key}=0.9")
    assert told.startswith(f"{key} is not a setting, on purpose: ") and "softmax(logits / T)" in told


def test_all_unknown_keys_of_a_file_are_named_with_their_full_path(tmp_path: Path) -> None:
    file = write(
        tmp_path / "x.toml", "[trainer]\nlr = 1\n[learner]\nloss_kind = 'x'\n[learner.adam]\n[[gyms]]\nnme = 'a'\n"
    )
    lines = refusal(files=(file,)).splitlines()
    assert [line.split()[0] for line in lines] == ["gyms.0.nme", "trainer.lr", "learner.loss_kind", "learner.adam"]


def test_every_wrong_value_gets_a_line_with_key_given_and_wanted() -> None:
    wrong = ["learner.lr=true", "seed='5'", "num_steps=5.0", "report.wandb=on", "learner.tau=-1", "gyms.0.name=[]"]
    assert set(refusal(*wrong, "quant.fake_quantize=False", "learner.betas=[0, 0, 0]", "engine=5").splitlines()) == {
        "learner.lr: got true, wanted a number",
        'seed: got "5", wanted a whole number',
        "num_steps: got 5.0, wanted a whole number",
        "report.wandb: got \"on\", wanted 'auto' or 'off'",
        "learner.tau: got -1, wanted greater than or equal to 0",
        "gyms.0.name: got [], wanted text in quotes",
        'quant.fake_quantize: got "False", wanted true or false',
        "learner.betas: got [0, 0, 0], wanted at most 2 items",
        "engine: got 5, wanted a table of settings",
    }


def test_the_schemas_own_messages_pass_through() -> None:
    assert refusal("gyms=[]") == "gyms is empty; add at least one [[gyms]] entry, e.g. name = 'arithmetic'"
    with pytest.raises(ConfigError, match=r"^model\.path is missing; "):
        load_config([])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["learner.lr"], "'learner.lr' is not key.path=value"),
        (["--learner.lr=1"], "is not key.path=value"),
        (["name=\udcff"], "in printable characters"),
        (["model.path="], 'model.path: got "", wanted a path'),
        (["quant.ignore=[lm_head]"], "text in it needs quotes"),
        (["gyms.code.budget=1"], "gyms.code does not exist; the entries of gyms are 0 (arithmetic), 1 (logic)"),
        (["gyms.2.budget=1"], "gyms.2 does not exist"),
        (["gyms=[]", "gyms.code.budget=1"], "a file adds one with [[gyms]]"),
        (["learner=5", "learner.lr=1"], "learner.lr cannot be set: learner was given a value"),
        (["gyms={a={budget=3}}"], "gyms: got {"),
        (["gyms=[{}]"], "gyms.0.name is missing"),
        (["learner.lr=inf"], "wanted a finite number"),
        (["seed=0x" + "f" * 5000], "a number is too long"),
        (["gyms.0.args." + "a." * 100 + "b=1"], "nested too deeply: more than 100 levels"),
        (["gyms.0.args." + "a." * 300 + "b=1"], "nested too deeply"),
        (["gyms.0.args." + "a." * 3000 + "b=1"], "nested too deeply"),
        (["gyms.0.args." + "a." * 100_000 + "b=1"], "nested too deeply"),
        (["gyms.0.args.x=" + "[" * 3000], "nested too deeply"),
    ],
)
def test_an_override_that_cannot_be_is_refused_with_the_reason(overrides: list[str], said: str) -> None:
    assert said in refusal(*overrides)


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    file = write(tmp_path / "x.toml", "seed = 1\nname = = 2\n")
    assert refusal(files=(file,)).startswith(f"{file}: Invalid value (at line 2,")
    write(file, "seed = 1\nname = [\n")
    assert "at line 3, the end of the file" in refusal(files=(file,))


@pytest.mark.parametrize("name", ["learner.lr", "seed", "gyms.0.budget", "gyms.math.budget"])
def test_a_setting_whose_value_was_forgotten_is_no_missing_file(base: Path, name: str) -> None:
    told = refusal(files=(base, Path(name)))
    assert told == f"{name} is a setting, and no file; to set it, write {name}=VALUE, without spaces"


def test_a_missing_file_names_the_nearest_one(base: Path) -> None:
    missing = base.with_name("bsae.toml")
    assert refusal(files=(missing,)) == f"{missing} does not exist; the nearest is {base}"


def test_a_file_that_is_no_text_or_no_file_is_refused(tmp_path: Path) -> None:
    assert refusal(files=(tmp_path,)) == f"{tmp_path} is a folder; give files of it, as in {tmp_path}/*.toml"
    assert "cannot be read" in refusal(files=(Path("\0"),))
    (tmp_path / "x.toml").write_bytes(b"name = '\xff'")
    assert "is not UTF-8 text" in refusal(files=(tmp_path / "x.toml",))


def test_a_config_comes_back_from_json_as_it_was() -> None:
    config = with_overrides("run_dir=x", "gyms.0.args={day=2024-01-31, limit=inf, deep={a=[1, 2.5]}}", "learner.lr=0")
    again = from_json(to_json(config))
    assert again == config
    assert diff(config, again) == []


@pytest.mark.parametrize("text", ["", "[]", "5", '{"model": 5}', '{"lr": 1}', '{"name": "\\ud800"}', "{}"])
def test_a_broken_config_json_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError):
        from_json(text)


def test_diff_names_changed_keys_and_none_that_are_equal() -> None:
    old = with_overrides()
    new = with_overrides("learner.lr=2e-6", "gyms.1.budget=9", "gyms.0.args.a=1", "seed=0")
    assert diff(old, new) == ["gyms.0.args", "gyms.1.budget", "learner.lr"]
    assert "gyms.1.name" in diff(old, with_overrides('gyms=[{name="arithmetic"}]'))


def test_a_resumed_run_may_change_what_is_listed_and_every_entry_exists() -> None:
    changes = [
        "num_steps=99",
        "run_dir=x",
        "rollout.max_prompt_tokens=100",
        "rollout.long_prompts=drop",
        "ptx.long_conversations=drop",
        "learner.gradient_checkpointing=true",
        "engine.num_engines=2",
        "engine.kv_cache_bytes=2097152",
        "engine.max_num_seqs=7",
        "engine.tensor_parallel=2",
        "reward.max_masked_frac=0.9",
        "reward.num_workers=1",
        "eval.every=1",
        "alarm.max_gap=none",
        "checkpoint.keep=9",
        "report.wandb=off",
        "cluster.max_restarts=0",
    ]
    check_same_run(with_overrides(), with_overrides(*changes))
    assert {change.split(".")[0].split("=")[0] for change in changes} == {
        key.split(".")[0] for key in MAY_CHANGE_ON_RESUME
    }


def test_a_message_names_what_a_resumed_run_keeps() -> None:
    told = (
        "lower gyms.sums.budget = 3, raise model.context_length or persona.max_tokens, or set rollout.steps_ahead = 0; "
        "model.layers.0 in rl/learner.py; engine.num_engines, rollout.long_prompts and cluster.separate may change; "
        'set model.earlier_thoughts = "keep", or raise model.context_length.'
    )
    assert kept_on_resume(told) == [
        *("gyms.sums.budget", "model.context_length", "persona.max_tokens", "rollout.steps_ahead"),
        "model.earlier_thoughts",
    ]
    assert not kept_on_resume("no room; lower engine.kv_cache_bytes")


def test_a_resumed_run_that_differs_is_refused_with_both_values() -> None:
    with pytest.raises(ConfigError) as caught:
        check_same_run(with_overrides(), with_overrides("learner.lr=2e-6", "ptx.source.gym=logic", "num_steps=99"))
    assert caught.value.problems[1:] == (
        "learner.lr: the run has 1e-06, now it is 2e-06",
        'ptx.source.gym: the run has none, now it is "logic"',
    )


KEYS = st.sampled_from(
    ["seed", "name", "model", "model.path", "gyms", "gyms.0", "gyms.logic.args", "learner.betas", "lr"]
)
WILD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8).map(repr)
    | st.sampled_from("[{}],.=#\n"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", max_size=3), inner, max_size=3),
    max_leaves=5,
).map(lambda value: str(value).replace(": ", " = "))
ANY_KEY = st.lists(KEYS | st.text(max_size=4), min_size=1, max_size=3).map(".".join)


@settings(deadline=None)
@given(
    st.lists(st.tuples(KEYS | ANY_KEY, WILD | st.text(max_size=12)).map("=".join) | st.text(max_size=12), max_size=4)
)
@example(["gyms.0=[]", "gyms.0.0=1"])
def test_wild_overrides_give_a_config_or_a_config_error(overrides: list[str]) -> None:
    try:
        config = with_overrides(*overrides)
    except ConfigError as error:
        assert all(error.problems)
    else:
        assert diff(config, from_json(to_json(config))) == []


@settings(deadline=None)
@given(
    st.dictionaries(
        KEYS.filter(lambda key: "." not in key) | st.text(max_size=4), st.text(max_size=8) | WILD, max_size=3
    )
)
def test_wild_files_give_a_config_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, lines: dict[str, str]
) -> None:
    text = "\n".join(f"{key} = {value}" for key, value in lines.items())
    file = tmp_path_factory.getbasetemp() / "wild.toml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        load_config([file], ["model.source=tiny", 'gyms=[{name="arithmetic"}]'])
    except ConfigError as error:
        assert all(error.problems)


def test_reading_a_config_imports_nothing_heavy() -> None:
    code = "import sys, configs.load, configs.reference; print(*{'torch', 'ray', 'vllm', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
