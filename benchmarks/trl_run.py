"""TRL's side of `benchmarks.vs_trl`: its GRPOTrainer on the same model, tasks, rewards and budget. Runs in TRL's own
environment, where this project is installed without extras: gyms and their verifiers are the very same.

    python benchmarks/trl_run.py JOB.json

The job (written by vs_trl): model folder, gym and its settings, steps, prompts and samples a step, budget, temperature,
learning rate, seed, when to evaluate, and where to write lines of JSON. A line for each step: its seconds, tokens and
mean reward; a line for each evaluation. Evaluations are timed apart and count for no step.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(job_file: str) -> None:
    job = json.loads(Path(job_file).read_text())
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOTrainer

    from gyms.testing import open_gym

    gym = open_gym(job["gym"], **job["args"])
    tasks = gym.tasks("train")
    num_rows = job["num_steps"] * job["num_prompts"]
    generator = torch.Generator().manual_seed(job["seed"])
    numbers = torch.randperm(len(tasks), generator=generator)[:num_rows].tolist()
    numbers += torch.randint(len(tasks), (num_rows - len(numbers),), generator=generator).tolist()
    rows = Dataset.from_list([{"prompt": asked(job, tasks[n]), "number": n} for n in numbers])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)

    def reward(completions: list[Any], number: list[int], **_: Any) -> list[float]:
        return [value_of(gym, tasks[n], c[0]["content"]) for n, c in zip(number, completions, strict=True)]

    GRPOTrainer(
        model=model, reward_funcs=reward, args=settings(job), train_dataset=rows, processing_class=tokenizer,
        callbacks=[timer(job, gym, model, tokenizer)],
    ).train()  # fmt: skip


def asked(job: dict[str, Any], task: Any) -> list[dict[str, str]]:
    """The messages of a task, as the run of ours asks it."""
    system = job["system_prompt"]
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, *map(dict, task.prompt)]


def value_of(gym: Any, task: Any, text: str) -> float:
    """A response's reward; RuntimeError where the verifier failed, which must not count as a wrong answer."""
    score = gym.score(task, text)
    if score.status.is_masked:
        raise RuntimeError(f"task {task.id!r} could not be scored: {score.status}: {score.detail}")
    return gym.minimum if score.value is None else score.value


def settings(job: dict[str, Any]) -> Any:
    """TRL's settings that come nearest to the job's."""
    from trl import GRPOConfig

    size = job["num_prompts"] * job["samples_per_prompt"]
    return GRPOConfig(
        output_dir=job["scratch"], max_steps=job["num_steps"], seed=job["seed"], bf16=True, use_cpu=True,
        learning_rate=job["lr"], lr_scheduler_type="constant_with_warmup", warmup_steps=job["lr_ramp_steps"],
        per_device_train_batch_size=job["microbatch"], gradient_accumulation_steps=size // job["microbatch"],
        num_generations=job["samples_per_prompt"], max_completion_length=job["budget"], beta=0.0,
        temperature=job["temperature"], logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True,
        gradient_checkpointing=False,
    )  # fmt: skip


def timer(job: dict[str, Any], gym: Any, model: Any, tokenizer: Any) -> Any:
    """What writes the lines: seconds of every step, what TRL logs of it, and evaluations, which count for no step."""
    from transformers import TrainerCallback

    def say(**facts: Any) -> None:
        with Path(job["out"]).open("a") as file:
            file.write(json.dumps(facts) + "\n")

    class Timer(TrainerCallback):
        started = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            say(step=0, accuracy=accuracy(job, gym, model, tokenizer))

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **__: Any) -> None:
            say(step=state.global_step, seconds=time.perf_counter() - self.started)
            if job["eval_every"] and state.global_step % job["eval_every"] == 0:
                model.eval()
                say(step=state.global_step, accuracy=accuracy(job, gym, model, tokenizer))
                model.train()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **__: Any) -> None:
            chosen = ("reward", "completions/mean_length", "loss")
            say(step=state.global_step, logs={key: value for key, value in (logs or {}).items() if key in chosen})

    return Timer()


def accuracy(job: dict[str, Any], gym: Any, model: Any, tokenizer: Any) -> float:
    """Mean reward of greedy responses to the held-out tasks."""
    import torch

    heldout, values = list(gym.tasks("heldout"))[: job["num_eval"]], []
    tokenizer.padding_side = "left"
    for start in range(0, len(heldout), 50):
        part = heldout[start : start + 50]
        inputs = tokenizer.apply_chat_template(
            [asked(job, task) for task in part], add_generation_prompt=True, padding=True,
            return_tensors="pt", return_dict=True,
        )  # fmt: skip
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            found = model.generate(
                **inputs, max_new_tokens=job["budget"], do_sample=False, pad_token_id=tokenizer.pad_token_id
            )
        texts = tokenizer.batch_decode(found[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        values += [value_of(gym, task, text) for task, text in zip(part, texts, strict=True)]
    return sum(values) / len(values)


if __name__ == "__main__":
    main(sys.argv[1])
