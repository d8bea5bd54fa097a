"""The command line: what is refused is one line and exit code 2, and looking starts nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import transformers

from configs.load import from_json, load_config, to_json
from rl.checkpoint import staging_folder, write_manifest
from rl.cli import _keep_trace, last_words, main
from rl.preflight import check
from rl.run_folder import RunFolder
from rl.run_lock import only_run_in

TINY = Path(__file__).parents[3] / "configs" / "tiny_cpu.toml"
SMALL = (
    "model.tiny.hidden_size=32",
    "model.tiny.num_heads=1",
    "model.tiny.num_layers=1",
    "cluster.object_store_bytes=78643200",
)


@pytest.fixture
def run_dir(tmp_path) -> str:
    return f"run_dir={tmp_path / 'run'}"


@pytest.fixture(autouse=True)
def quiet(monkeypatch) -> None:
    """As in a process of its own, where progress bars are off before transformers is imported."""
    transformers.utils.logging.disable_progress_bar()
    monkeypatch.setattr(os, "environ", os.environ.copy())  # what main() sets for its process stays in this test


def children() -> set[str]:
    """Processes that this one started."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def without_progress(err: str) -> list[str]:
    """Lines of stderr but those that a slow machine adds on how far a long check is."""
    return [line for line in err.splitlines() if not line.endswith(" measured")]


def refused(capsys, *arguments: str) -> str:
    """The single line that a refused command leaves on stderr."""
    assert main([str(TINY), *SMALL, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = without_progress(err)
    assert line.startswith("not started: ")
    return line.removeprefix("not started: ")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("learner.learning_rate=1", "learner.learning_rate is not a setting; did you mean learner.lr"),
        ("lerner.lr=1", "lerner.lr is not a setting; did you mean learner.lr"),
        ("learner.lr=fast", 'learner.lr: got "fast", wanted a number'),
        ("gyms=[]", "gyms is empty"),
        ("model.context_length=18", "model.context_length is 18; lower the budget or raise the context"),
        ("learner.num_minibatches=7", "is not a multiple of learner.num_minibatches = 7"),
        ("name=../up", "name may hold letters, digits"),
        ("gyms.0.gym=nowhere:Gym", "importing 'nowhere' failed: ModuleNotFoundError"),
        ("gyms.0.gym=arithmatic", "did you mean 'arithmetic'"),
        ("gyms.0.args.num_held_out=4", "gyms.0.args.num_held_out: unknown setting (did you mean 'num_heldout' or"),
        ("quant.group_size=48", "quant.group_size = 48"),
        (f"engine.kv_cache_bytes={1 << 50}", "GiB are free"),
    ],
)
def test_what_is_wrong_in_a_config_is_told_in_one_line_with_exit_code_2(capsys, run_dir, override, expected):
    assert expected in refused(capsys, "--dry-run", run_dir, override)


def test_a_missing_config_file_is_refused_with_the_nearest(capsys):
    assert main([str(TINY.with_name("tiny_gpu.toml"))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "tiny_gpu.toml does not exist; the nearest is" in line and "tiny_cpu.toml" in line


def test_a_missing_model_is_refused_before_anything_starts(capsys, run_dir, tmp_path):
    before = children()
    line = refused(capsys, run_dir, "model.source=folder", f"model.path={tmp_path / 'none'}")
    assert "no config.json" in line and "python -m rl.prepare" in line
    assert children() <= before and not (tmp_path / "run").exists()


def test_malformed_curated_data_is_refused_with_file_and_line(capsys, run_dir, tmp_path):
    file = tmp_path / "curated.jsonl"
    file.write_text("\n{]\n")
    line = refused(capsys, run_dir, f'ptx.source={{ jsonl = "{file}" }}', "ptx.source.gym=none")
    assert line.startswith(f"{file}:2: not a line of JSON ")


def test_a_relative_run_folder_is_refused_in_a_ray_job(capsys, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert "run_dir = runs/tiny_cpu is relative" in refused(capsys)
    assert "run_dir = here is relative" in refused(capsys, "run_dir=here")


def test_the_last_line_of_a_command_holds_nothing_that_a_terminal_obeys(capsys):
    assert last_words(RuntimeError("a verifier\nsaid \x1b[2J\x9b")) == "a verifier said \ufffd[2J\ufffd"
    assert main(["\x1b[2J.toml"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_run_that_fails_before_its_first_step_leaves_a_trace_and_a_last_line_too(capsys, run_dir, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rollouts").touch()
    assert main([str(TINY), *SMALL, run_dir]) == 1
    *_, trace, last = capsys.readouterr().err.splitlines()
    log = tmp_path / "run" / "error.log"
    assert trace == f"trace: {log}" and last.startswith("run failed: FileExistsError: ")
    assert "FileExistsError" in log.read_text()


def test_a_trace_is_kept_whatever_it_quotes_and_told_where_its_file_cannot_be_written(tmp_path):
    try:
        raise RuntimeError("half \ud800")
    except RuntimeError:
        assert _keep_trace(tmp_path / "error.log") == f"trace: {tmp_path / 'error.log'}"
        assert _keep_trace(tmp_path / "none" / "error.log").endswith("RuntimeError: half \ufffd\n")
    assert "half \\ud800" in (tmp_path / "error.log").read_text()


def test_print_shows_a_config_that_reads_back_as_the_same(capsys):
    overrides = ["seed=7", "learner.lr=3e-4", "gyms.arithmetic.budget=9", "run_dir=/data/x"]
    assert main([str(TINY), *overrides, "--print"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = from_json(out)
    assert found == load_config([TINY], overrides)
    assert (found.seed, found.learner.lr, found.gyms[0].budget) == (7, 3e-4, 9)


def test_files_and_overrides_may_come_in_any_order_and_later_files_win(capsys, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text("seed = 3\nnum_steps = 4\n")
    assert main(["--print", "seed=5", str(TINY), str(mine)]) == 0
    found = from_json(capsys.readouterr().out)
    assert (found.seed, found.num_steps, found.name) == (5, 4, "tiny_cpu")


def test_a_dry_run_says_that_all_is_ready_and_starts_nothing(capsys, run_dir, tmp_path):
    before = children()
    assert main([str(TINY), *SMALL, run_dir, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert without_progress(err) == []
    assert out.startswith("tiny_cpu: ready. ") and f"run folder {tmp_path / 'run'}" in out and "arithmetic" in out
    assert children() <= before
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["base"]


def test_a_second_start_in_a_folder_where_a_run_goes_on_is_refused_and_a_dry_run_is_not(capsys, run_dir, tmp_path):
    with only_run_in(tmp_path / "run"):
        line = refused(capsys, run_dir)
        assert f"a run is going on in {tmp_path / 'run'} (process {os.getpid()} on " in line
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [".lock"]
        assert main([str(TINY), *SMALL, run_dir, "--dry-run"]) == 0


@pytest.mark.parametrize("arguments", [[], ["--no-such-option"]])
def test_a_wrong_command_line_exits_with_2_and_a_usage(capsys, arguments):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "usage: python -m rl.train" in capsys.readouterr().err


def test_help_teaches_with_examples(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    assert exit_info.value.code == 0
    assert "python -m rl.train configs/tiny_cpu.toml" in capsys.readouterr().out


GYM = '''
from gyms.api import Gym, Score, Status, Task, message


class Odd(Gym):
    """One prompt in 300 is long."""

    def tasks(self, split):
        texts = [f"{i}+1=" for i in range(300)]
        if split == "train":
            texts[211] = "1" * 30
        return [Task(id=f"{split}/{i}", prompt=(message("user", f"{split}{t}"),)) for i, t in enumerate(texts)]

    def score(self, task, response):
        return Score(status=Status.OK, value=0.0)
'''


@pytest.fixture
def odd(tmp_path) -> tuple[str, ...]:
    (tmp_path / "odd.py").write_text(GYM)
    gyms = f'gyms=[{{name="odd",gym="{tmp_path / "odd.py"}:Odd",budget=5}}]'
    return (gyms, "ptx.source.gym=odd", "warmup.num_steps=0", "ptx.coef=0", 'model.tiny.alphabet="0123456789+="')


def test_a_long_prompt_is_refused_at_the_dry_run_and_dropped_where_that_is_asked_for(capsys, run_dir, odd):
    line = refused(capsys, "--dry-run", run_dir, *odd)
    assert "gyms.0 (odd): 1 of 300 train prompts are longer than rollout.max_prompt_tokens = 16" in line
    assert main([str(TINY), *SMALL, run_dir, *odd, "--dry-run", "rollout.long_prompts=drop"]) == 0
    note, ready = capsys.readouterr().out.splitlines()
    assert note.startswith("note: gyms.0 (odd): 1 of 300 train prompts are longer") and note.endswith(": dropped")
    assert ready.startswith("tiny_cpu: ready. ")


def test_a_dry_run_of_a_resume_says_what_the_start_says(capsys, run_dir, tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert main([str(TINY), *SMALL, run_dir, "--dry-run"]) == 0
    checked = check(load_config([TINY], [*SMALL, run_dir]))
    folder.create()
    folder.config.write_text(to_json(checked.config))
    staging = staging_folder(folder.checkpoints, 4)
    (staging / "learner.pt").touch()
    write_manifest(staging, folder.checkpoints, run={"step": 4}, fingerprint=checked.fingerprint)
    capsys.readouterr()
    assert main([str(TINY), *SMALL, run_dir, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("tiny_cpu: ready. goes on from step 4, ")
    before = children()
    for arguments, expected in (
        (("learner.lr=1",), "learner.lr: the run has"),
        (("rollout.max_prompt_tokens=15",), "what it drew so far may be longer"),
    ):
        said = []
        for start in ((), ("--dry-run",)):
            assert main([str(TINY), *SMALL, run_dir, *arguments, *start]) == 2
            said.append(without_progress(capsys.readouterr().err))
        assert said[0] == said[1] and expected in "\n".join(said[0])
    fingerprint = {**checked.fingerprint, "chat_template": "another"}
    staging = staging_folder(folder.checkpoints, 5)
    (staging / "learner.pt").touch()
    write_manifest(staging, folder.checkpoints, run={"step": 5}, fingerprint=fingerprint)
    assert "chat_template has changed since the checkpoint" in refused(capsys, run_dir)
    assert "chat_template has changed since the checkpoint" in refused(capsys, run_dir, "--dry-run")
    assert children() <= before


def test_advice_that_a_run_with_a_checkpoint_cannot_take_says_so(capsys, run_dir, tmp_path):
    wrong = ("quant.group_size=48", run_dir, "--dry-run")
    advised = refused(capsys, *wrong)
    assert "quant.group_size = 48: change " in advised and advised.endswith("so that it stays bfloat16")
    folder = RunFolder(tmp_path / "run")
    folder.create()
    folder.config.write_text(to_json(load_config([TINY], [*SMALL, *wrong[:2]])))
    staging = staging_folder(folder.checkpoints, 4)
    (staging / "learner.pt").touch()
    write_manifest(staging, folder.checkpoints, run={"step": 4}, fingerprint={})
    kept = f"; the run in {folder.path} keeps its quant.group_size, quant.ignore: "
    assert refused(capsys, *wrong) == f"{advised}{kept}to set another value, start a new run_dir"
    may_change = f"engine.kv_cache_bytes={1 << 50}"
    folder.config.write_text(to_json(load_config([TINY], [*SMALL, run_dir])))
    staging = staging_folder(folder.checkpoints, 5)
    (staging / "learner.pt").touch()
    checked = check(load_config([TINY], [*SMALL, f"run_dir={tmp_path / 'other'}"]))
    write_manifest(staging, folder.checkpoints, run={"step": 5}, fingerprint=checked.fingerprint)
    assert refused(capsys, run_dir, may_change, "--dry-run").endswith("or engine.num_engines")


def test_a_run_is_shown_in_one_way_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["configs/tiny_cpu.toml", "--quiet", "--json"])
    assert caught.value.code == 2 and "not allowed with argument" in capsys.readouterr().err
