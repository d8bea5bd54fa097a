"""vLLM serves what a run exports over the OpenAI API, by the command that README shows, and it answers as trained."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import torch
from transformers import AutoTokenizer

from rl.learner import Learner
from tests.integration.harness import PATIENCE, ROOT, Runs, new_learner

PROMPTS = ["12+34=", "7+8=", "90+9=", "1+1=", "55+44=", "31+13=", "66+7=", "20+5="]
CLEAR_MARGIN = 1.0
"""Logits between the best token and the second: two programs, one in bf16, are a few hundredths apart on this model."""


def command() -> list[str]:
    """The line of README, in the interpreter of the tests."""
    (line,) = re.findall(r"python -m (vllm\.entrypoints\S* .*)", (ROOT / "README.md").read_text(encoding="utf-8"))
    return [sys.executable, "-m", *line.split("#")[0].split()]


def best_tokens(learner: Learner, tokenizer: Any) -> dict[str, str]:
    """The learner's own first token, for prompts where it is clearly ahead."""
    clear = {}
    for prompt in PROMPTS:
        ids = torch.tensor([tokenizer.encode(prompt, add_special_tokens=False)])
        with torch.no_grad():
            (first, second), (best, _) = learner.model(input_ids=ids).logits[0, -1].float().topk(2)
        if first - second > CLEAR_MARGIN:
            clear[prompt] = tokenizer.decode([int(best)])
    return clear


def test_the_export_answers_over_the_openai_api_what_the_learner_would(tiny_folder: Path, tmp_path: Path) -> None:
    learner = new_learner(tiny_folder)
    for master in learner.masters.parameters.values():
        if master.ndim == 2:
            master.mul_(4.0)  # untrained weights, but opinionated ones: clear margins
    learner.masters.refresh()
    learner.export(export := tmp_path / "export")
    expected = best_tokens(learner, AutoTokenizer.from_pretrained(tiny_folder))
    assert len(expected) >= 3, f"too few clear answers to compare: {expected}"

    # Not a port, which another program could take before the server does, and answer in its place.
    folder = tempfile.mkdtemp(dir="/tmp")  # short: the path of a socket has 107 bytes at most
    wanted = [re.sub(r"runs/\S+", str(export), part) for part in command()] + ["--uds", f"{folder}/http"]
    environment = {**Runs().environment(), "VLLM_CPU_KVCACHE_SPACE": "1"}
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(wanted, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        transport = httpx.HTTPTransport(uds=f"{folder}/http")
        with httpx.Client(base_url="http://127.0.0.1", transport=transport, timeout=PATIENCE) as client:
            wait_until_it_serves(client, server, tmp_path / "server.log")
            found = {
                prompt: client.post(
                    "/v1/completions",
                    json={"model": str(export), "prompt": prompt, "max_tokens": 1, "temperature": 0.0},
                ).json()["choices"][0]["text"]
                for prompt in expected
            }
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=PATIENCE)
        shutil.rmtree(folder)
    assert found == expected


def wait_until_it_serves(client: httpx.Client, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when it is healthy; pytest's own timeout ends a wait that is too long."""
    while True:
        assert server.poll() is None, log.read_text()
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
