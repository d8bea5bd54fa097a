"""What is wrong with a run is found before it starts, one clear line each."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, Gemma2Config, Gemma3nConfig, MistralConfig

from configs.load import load_config
from gyms.fingerprint import gym_fingerprint
from gyms.load import GymSpec
from rl.gym_checks import check_gold
from rl.preflight import available_memory, check, check_memory, resolve_run_folder

GYM = '''
from gyms.api import Gym, Score, Status, Task, message


class Sums(Gym):
    """a + 1, held out from 50 on."""

    def tasks(self, split):
        first = 0 if split == "train" else 50
        return [
            Task(id=f"{split}/{a}", prompt=(message("user", f"{a}+1="),), data={"answer": str(a + 1)})
            for a in range(first, first + 50)
        ]

    def score(self, task, response):
        return Score(status=Status.OK, value=float(response == task.data["answer"]))

    def gold(self, task):
        return task.data["answer"]


class Overlapping(Sums):
    def tasks(self, split):
        return super().tasks("train")


class Empty(Sums):
    def tasks(self, split):
        return super().tasks(split) if split == "train" else []


class WrongGold(Sums):
    def gold(self, task):
        return "wrong"


class Shuffled(Sums):
    """In the order of a set of texts, which is another in every process."""

    def tasks(self, split):
        tasks = {task.id: task for task in super().tasks(split)}
        return [tasks[name] for name in set(tasks)]


class ForParents(Sums):
    """Has tasks in the process that started all, and none in others."""

    def tasks(self, split):
        import sys

        return super().tasks(split) if "gyms.fingerprint" in sys.modules and "rl.preflight" in sys.modules else 1 / 0


class Raises(Sums):
    def score(self, task, response):
        raise KeyError("no such answer")
'''

TOML = """
name = "mine"
num_steps = 2

[model]
source = "tiny"
context_length = 64
chat_template = false
tiny = {{ hidden_size = 32, num_layers = 1, num_heads = 1, intermediate_size = 32 }}

[[gyms]]
name = "sums"
gym = "{gym}"
args = {args}
budget = 8

[rollout]
prompts_per_step = 2
samples_per_prompt = 2
max_prompt_tokens = 16

[engine]
kv_cache_bytes = 1048576

[cluster]
object_store_bytes = 78643200

[learner]
max_microbatch_tokens = 64

[report]
wandb = "off"
"""


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    """Whatever this machine has."""
    monkeypatch.setattr(os, "cpu_count", lambda: 4)


@pytest.fixture
def gym_file(tmp_path) -> Path:
    file = tmp_path / "my_gyms.py"
    file.write_text(GYM)
    return file


@pytest.fixture
def configured(tmp_path):
    """The config above with overrides; its run folder lies in tmp_path. Of a gym of ours no other process is asked."""
    return configs_of(tmp_path, gym="arithmetic", args='{ style = "bare", max_operand = 9 }')


@pytest.fixture
def with_file(tmp_path, gym_file):
    """The same with a gym of the file above."""
    return configs_of(tmp_path, gym=f"{gym_file}:Sums", args="{}")


def configs_of(folder: Path, **gym: str):
    file = folder / "mine.toml"
    file.write_text(TOML.format(**gym))
    return lambda *overrides: load_config([file], [f"run_dir={folder / 'run'}", *overrides])


def refusal(config) -> str:
    with pytest.raises(ValueError) as caught:
        check(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def folder_model(tiny_folder, tmp_path):
    """A model folder that a test may spoil, and the overrides that name it."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    return folder, ('model.source="folder"', f"model.path={folder}")


def test_a_config_that_is_right_gives_the_run_all_that_was_built_for_checking(with_file, tmp_path):
    checked = check(with_file("ptx.source.gym=sums", "ptx.coef=0.1"))
    assert [entry.name for entry in checked.gyms] == ["sums"] and checked.specs[0].build().gold is not None
    assert checked.folder.path == tmp_path / "run"
    assert checked.model_folder == tmp_path / "run" / "base"
    weights = load_file(checked.model_folder / "model.safetensors")
    assert checked.num_parameters == sum(tensor.numel() for tensor in weights.values())
    assert checked.ptx is not None and [len(source.data) for source in checked.ptx.sources] == [50]
    assert set(checked.fingerprint) == {"chat_template", "tokenizer", "gyms"}
    assert [path.name for path in checked.folder.path.iterdir()] == ["base"]


def test_checking_twice_finds_the_same(configured):
    first, second = check(configured()), check(configured())
    assert first.fingerprint == second.fingerprint and first.num_parameters == second.num_parameters
    assert first.ptx is None


# -- gyms -------------------------------------------------------------------------------------------------------------


def test_an_unknown_gym_is_refused_with_the_installed_ones(configured):
    message = refusal(configured("gyms.sums.gym=arithmetics"))
    assert "gyms.0.gym = 'arithmetics': there is no gym of that name" in message and "'arithmetic'" in message


def test_a_gym_that_cannot_be_imported_is_refused_with_the_cause(configured, tmp_path):
    (tmp_path / "broken.py").write_text("import a_module_that_nobody_has\n")
    message = refusal(configured(f"gyms.sums.gym={tmp_path / 'broken.py'}:Sums"))
    assert "gyms.0.gym: importing" in message and "No module named 'a_module_that_nobody_has'" in message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Overlapping", "train task 'train/0' and held-out task 'train/0' are the same problem"),
        ("Empty", "gyms.0 (sums) has no heldout tasks; check gyms.0.args"),
        ("WrongGold", "gyms.0 (sums): the gold answer 'wrong' of task 'train/0' scores 0.0 (ok)"),
        ("Raises", "gyms.0 (sums) raised KeyError: 'no such answer'; run `python -m gyms validate sums`"),
    ],
)
def test_a_gym_that_would_teach_nonsense_is_refused(with_file, gym_file, name, expected):
    assert expected in refusal(with_file(f"gyms.sums.gym={gym_file}:{name}"))


def test_a_gym_whose_tasks_differ_between_processes_is_refused(with_file, gym_file):
    message = refusal(with_file(f"gyms.sums.gym={gym_file}:Shuffled"))
    assert message.startswith(f"the tasks of gym 'sums' ({gym_file}:Shuffled) differ in another process; ")
    message = refusal(with_file(f"gyms.sums.gym={gym_file}:ForParents"))
    assert "cannot be built in another process" in message


def test_a_gym_without_worked_answers_passes(configured):
    (entry,) = check(configured()).gyms
    gym = entry.gym
    gym.gold = lambda task: None
    check_gold(gym, 0, GymSpec(name="sums", reference="arithmetic"))


def test_changed_tasks_change_the_fingerprint_of_a_gym(gym_file):
    gym = GymSpec(name="sums", reference=f"{gym_file}:Sums").build()
    before = gym_fingerprint(gym)
    assert before["train"]["num"] == 50 and before == gym_fingerprint(gym)
    tasks = gym.tasks
    gym.tasks = lambda split: tasks(split)[:-1]
    assert gym_fingerprint(gym)["train"]["num"] == 49
    gym.tasks = lambda split: tasks("train")
    assert gym_fingerprint(gym)["heldout"] == before["train"] != before["heldout"]


# -- model ------------------------------------------------------------------------------------------------------------


def test_a_missing_model_is_refused_with_the_command_that_makes_one(configured, tmp_path):
    message = refusal(configured('model.source="folder"', f"model.path={tmp_path / 'none'}"))
    assert "is no Hugging Face folder (no config.json)" in message and "python -m rl.prepare" in message


def test_a_folder_without_weights_is_refused(configured, folder_model):
    folder, overrides = folder_model
    (folder / "model.safetensors").unlink()
    assert "has no *.safetensors weights" in refusal(configured(*overrides))


def test_a_config_json_that_is_cut_short_is_refused_by_its_path(configured, folder_model):
    folder, overrides = folder_model
    (folder / "config.json").write_text('{"architectures": [')
    assert str(folder / "config.json") in refusal(configured(*overrides))


def test_a_quantised_source_is_refused(configured, folder_model):
    folder, overrides = folder_model
    facts = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(facts | {"quantization_config": {"quant_method": "x"}}))
    message = refusal(configured(*overrides))
    assert "is quantised already" in message and "BF16 model" in message


def test_a_context_longer_than_the_model_knows_is_refused(configured, folder_model):
    _, overrides = folder_model  # 128 positions
    check(configured(*overrides, "model.context_length=128"))
    message = refusal(configured(*overrides, "model.context_length=129"))
    assert "model.context_length = 129 exceeds what the model knows (max_position_embeddings = 128" in message


def test_a_group_size_that_fits_no_layer_is_refused_with_the_layers_name(configured):
    message = refusal(configured("quant.group_size=48"))
    assert "model.layers.0.self_attn.q_proj" in message and "quant.group_size = 48" in message


def test_a_model_without_tokenizer_is_refused(configured, folder_model):
    folder, overrides = folder_model
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"has no tokenizer that can be loaded"):
        check(configured(*overrides))


def test_a_missing_chat_template_is_refused(configured):
    assert "set model.chat_template = false" in refusal(configured("model.chat_template=true"))


@pytest.mark.parametrize("window", [32, 64, None])
def test_a_sliding_window_shorter_than_the_context_is_refused(configured, folder_model, window):
    """The learner's tree mask replaces the window, while the engine keeps to it."""
    folder, overrides = folder_model
    llama = AutoConfig.from_pretrained(str(folder))
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    shape = {name: getattr(llama, name) for name in names}
    MistralConfig(
        **shape, num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=128, sliding_window=window
    ).save_pretrained(folder)
    if window == 32:
        assert "the model attends over a sliding window of 32 tokens, less than model.context_length = 64" in refusal(
            configured(*overrides)
        )
    else:
        check(configured(*overrides))


@pytest.mark.parametrize("capped", ["attn_logit_softcapping", "final_logit_softcapping"])
def test_a_model_with_soft_capped_logits_is_refused_by_the_setting_that_caps_them(configured, folder_model, capped):
    folder, overrides = folder_model
    caps = {"attn_logit_softcapping": None, "final_logit_softcapping": None} | {capped: 30.0}
    shape = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "head_dim": 32}
    Gemma2Config(
        **shape, num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128, **caps
    ).save_pretrained(folder)
    assert f"sets {capped} = 30: models with soft-capped logits" in refusal(configured(*overrides))


def test_a_soft_cap_of_the_language_model_within_a_larger_one_is_found_too(configured, folder_model):
    folder, overrides = folder_model
    Gemma3nConfig().save_pretrained(folder)
    assert "sets final_logit_softcapping = 30: models with" in refusal(configured(*overrides))


# -- data and machine -------------------------------------------------------------------------------------------------


def test_a_malformed_line_of_curated_data_is_refused_by_file_and_number(configured, tmp_path):
    file = tmp_path / "curated.jsonl"
    line = '{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]}'
    file.write_text(f"{line}\n{line[:-3]}\n")
    message = refusal(configured(f"ptx.source.jsonl={file}", "ptx.coef=0.1"))
    assert message.startswith(f"{file}:2: not a line of JSON")
    check(configured(f"ptx.source.jsonl={file}"))  # not used: not read


def test_too_little_memory_is_refused_with_what_would_need_less(configured):
    message = refusal(configured(f"engine.kv_cache_bytes={1 << 50}"))
    assert "GiB are free" in message and "engine.kv_cache_bytes" in message
    assert 0 < available_memory() < 1 << 50


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["cluster.separate=true"], r"engine.num_engines \+ learner.num_ranks needs 2;"),
        (["engine.num_engines=2"], "engine.num_engines needs 2;"),
        (["cluster.cpus_per_bundle=2"], "room for 0 bundles of 2"),
    ],
)
def test_more_bundles_than_this_machine_has_are_refused_at_once(configured, monkeypatch, overrides, told):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert re.search(told, refusal(configured(*overrides)))


def test_ranks_that_each_read_the_model_need_memory_for_that_many_of_it(configured, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 10_000_000)
    message = refusal(configured("learner.num_ranks=10000000", "cluster.cpus_per_bundle=1"))
    assert "GiB of memory (learner " in message


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8 << 30),
        ({"memory.max": "max", "memory.current": "5"}, 8 << 30),
        ({"memory.max": str(3 << 30), "memory.current": str(1 << 30)}, 2 << 30),
        ({"memory/memory.limit_in_bytes": str(4 << 30), "memory/memory.usage_in_bytes": str(5 << 30)}, 0),
        ({"memory.max": "9", "memory.current": "9", "memory.stat": "file 5\ninactive_file 3\nactive_file 2"}, 3),
        ({"memory.limit_in_bytes": "9", "memory.usage_in_bytes": "9", "memory.stat": "total_inactive_file 4"}, 4),
    ],
)
def test_a_container_limit_counts_as_memory_and_cached_files_that_nobody_reads_are_free(files, expected, tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable: {8 << 20} kB\n")
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert available_memory(tmp_path) == expected


def test_an_object_store_that_the_machine_cannot_hold_is_refused(configured):
    assert "/dev/shm has" in refusal(configured(f"cluster.object_store_bytes={1 << 50}"))


def test_memory_of_another_machine_is_not_ours_to_check(configured):
    elsewhere = configured(f"engine.kv_cache_bytes={1 << 50}", "cluster.address=10.0.0.1:6379")
    check(elsewhere, nodes=lambda config: [{"CPU": 4.0}])


def test_a_cluster_is_checked_by_what_its_nodes_have_and_not_by_the_machine_of_the_command(configured):
    head, worker = {"CPU": 64.0}, {"CPU": 8.0, "GPU": 1.0}
    groups_of_16 = configured("quant.group_size=16", "cluster.address=10.0.0.1:6379")
    check(groups_of_16, nodes=lambda config: [head])  # the kernel of CPUs takes them
    with pytest.raises(ValueError, match=r"Marlin\) takes groups of 32, 64, 128 weights, and quant\.group_size is 16"):
        check(groups_of_16, nodes=lambda config: [head, worker])
    two_engines = configured("engine.num_engines=2", "cluster.address=10.0.0.1:6379")
    with pytest.raises(ValueError, match=r"has 1 GPU\(s\), and engine\.num_engines = 2 engines need one each"):
        check(two_engines, nodes=lambda config: [head, worker])


def test_an_engine_of_several_processes_needs_a_model_that_they_can_share(configured, tmp_path):
    shape = "model.tiny.hidden_size=64", "model.tiny.intermediate_size=64"
    with pytest.raises(ValueError, match=r"^engine\.tensor_parallel = 2 does not divide num_attention_heads = 1 "):
        check(configured(*shape, "engine.tensor_parallel=2", "cluster.cpus_per_bundle=2"))
    two = "model.tiny.num_heads=2", "engine.tensor_parallel=2", f"run_dir={tmp_path / 'two'}"
    assert "its bundle has 1 (cluster.cpus_per_bundle" in refusal(configured(*shape, *two, "cluster.cpus_per_bundle=1"))
    check(configured(*shape, *two, "cluster.cpus_per_bundle=2"))


@pytest.mark.parametrize(("size", "copy", "gib"), [(1, "", 2048), (3, "", 2048 + 3 * 1024), (1, "true", 6 * 1024)])
def test_processes_of_an_engine_hold_whole_packed_versions_and_a_bf16_copy_is_there_twice(configured, size, copy, gib):
    """Of 2^40 parameters at one byte each, or two of a copy, beside the two bytes that matrices take together."""
    with pytest.raises(ValueError, match=rf", engines {gib}\.0\), but ") as told:
        check_memory(configured(f"engine.tensor_parallel={size}", f"engine.bf16_copy={copy or 'false'}"), 1 << 40)
    assert ("engine.tensor_parallel" in str(told.value)) == (size > 1)


def test_the_run_folder_is_absolute_and_named_after_the_run(configured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_run_folder(configured()).path == tmp_path / "run"
    assert resolve_run_folder(configured("run_dir=none")).path == tmp_path / "runs" / "mine"
    assert resolve_run_folder(configured("run_dir=here")).path == tmp_path / "here"


def test_a_relative_run_folder_is_refused_in_a_ray_job(configured, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert resolve_run_folder(configured()).path == tmp_path / "run"
    for given in ("run_dir=here", "run_dir=none"):
        assert "is relative; under `ray job submit`" in refusal(configured(given))


def test_weights_are_not_loaded(configured, folder_model):
    folder, overrides = folder_model
    tensors = {name: torch.zeros(1) for name in load_file(folder / "model.safetensors")}
    save_file(tensors, folder / "model.safetensors")
    check(configured(*overrides))


def test_rates_and_overlaps_decide_what_is_asked_and_are_told(configured, tmp_path):
    plain = check(configured())
    tasks = plain.gyms[0].gym.tasks("train")
    rates, bench = tmp_path / "rates.jsonl", tmp_path / "bench.jsonl"
    rates.write_text("".join(f'{{"gym": "sums", "task": "{t.id}", "rate": {i % 2}}}\n' for i, t in enumerate(tasks)))
    config = configured(f"rollout.prompts.rates={rates}", "rollout.prompts.max_rate=0.5", "reward.toggle.period=2")
    checked = check(config)
    asked = {draw.task.id for step in range(50) for draw in checked.sampler.draws(step, {})}
    assert asked == {task.id for task in tasks[::2]} and "rates" in checked.fingerprint
    question = tasks[0].prompt[-1]["content"]
    bench.write_text(f'{{"question": "{question}"}}\n')
    dropping = check(configured(f'overlap.files=["{bench}"]', "overlap.rule=drop"))
    assert any("stand in other data too" in note and note.endswith(": dropped") for note in dropping.notes)
    asked = {draw.task.id for step in range(50) for draw in dropping.sampler.draws(step, {})}
    assert asked == {task.id for task in tasks[1:]} and dropping.fingerprint["overlap"] != plain.fingerprint["gyms"]
    assert "set overlap.rule" in refusal(configured(f'overlap.files=["{bench}"]', "overlap.rule=refuse"))
    assert "rollout.prompts.rates" in refusal(configured("rollout.prompts.rates=/nowhere.jsonl"))
