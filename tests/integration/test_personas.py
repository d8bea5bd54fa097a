"""Somebody in an environment whom the served model plays: on the real engine, and in a run that was stopped."""

from __future__ import annotations

import asyncio
import json
import string
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from configs.schema import Config, TinyModelConfig
from gyms.api import Message, Status, Tool, Turn
from gyms.episodes.turns import turn_as_json, turn_of_json
from gyms.load import GymSpec, load_gym
from gyms.mixture import Draw, EpisodeLimits
from gyms.tools.gym import Tools
from gyms.tools.user import question
from reward.scorer import Scorer
from rl.collect import sample_seed
from rl.episodes import play
from rl.personas import Personas, Question
from rl.tiny_model import build_tiny_model
from rollout.chat import ChatFormat
from rollout.context import Round
from rollout.engine.engine import EngineSettings, VLLMEngine
from rollout.tool_calls import written
from rollout.types import FinishReason, Sample, SampleRequest, Segment
from tests.integration.harness import PATIENCE, Runs, as_of, new_learner, without_times
from tests.integration.here import run_here

ARGS = {"user": "model", "dialects": False, "fault_rate": 0.0, "num_train": 100, "num_heldout": 20}
CONTEXT = 4096


class Scripted:
    """Takes turns that are written down; the persona is played by a real engine."""

    def __init__(self, engine: VLLMEngine, chat: ChatFormat, script: Sequence[str]) -> None:
        self.engine, self.chat, self.script = engine, chat, script
        config = {"model": {"source": "tiny", "context_length": CONTEXT}, "persona": {"max_tokens": 12}}
        self.personas = Personas(Config.model_validate({"gyms": [{"name": "arithmetic"}], **config}))

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        if request.id.startswith("persona/"):
            return self.drawn(request)
        text = self.script[int(request.id.rpartition("/")[2])]
        ids = self.chat.response_ids(text)
        part = Segment(token_ids=ids, logprobs=(-1.0,) * len(ids), weight_version=0, temperature=request.temperature)
        return Sample(
            id=request.id, prompt_ids=request.prompt_ids, segments=(part,), finish_reason=FinishReason.STOP, text=text
        )

    def drawn(self, request: SampleRequest) -> Sample:
        deadline = time.monotonic() + PATIENCE
        self.engine.submit([request])
        while not (found := self.engine.finished(wait_seconds=1.0)):
            assert time.monotonic() < deadline, "the engine does not finish"
        return found[0]

    async def answer(self, question: Question) -> str:
        return await self.personas.answer(question, self, self.chat)

    def read_turn(self, sample: Sample, tools: Sequence[Tool], *, number: int) -> Turn:
        return self.chat.read_turn(sample, tools, number=number)

    def reply_ids(self, draw: Draw, reply: Sequence[Message]) -> tuple[int, ...]:
        return self.chat.reply_ids(draw.task.prompt, reply, draw.tools)

    def left_out(self, draw: Draw, rounds: Sequence[Round]) -> frozenset[int]:
        return frozenset()

    def context_ids(self, draw: Draw, rounds: Sequence[Round], *, without: frozenset[int]) -> tuple[int, ...]:
        raise AssertionError("nothing is rewritten")


def test_the_served_model_answers_what_a_policy_asks_and_a_replay_asks_nobody(tmp_path: Path) -> None:
    shape = TinyModelConfig(
        hidden_size=32, num_layers=1, num_heads=1, intermediate_size=32, alphabet=string.printable[:95] + "\n"
    )
    build_tiny_model(tmp_path / "model", shape, context_length=CONTEXT, seed=3)
    new_learner(tmp_path / "model").export(tmp_path / "int4")
    chat = ChatFormat(tmp_path / "model", use_template=False, tool_format="pythonic", thoughts=())
    gym = load_gym("tools", "tools", ARGS, config_key="gyms.0")
    assert isinstance(gym, Tools)
    task = next(task for task in gym.tasks("train") if task.data["withheld"])
    asked, tools = question(task.data["withheld"][0]["topic"]), gym.tools(task)
    rest = [written(turn, tools, tool_format="pythonic") for turn in gym.gold_turns(task)]
    script = [f"ask_user({asked!r})"] * 2 + rest
    engine = VLLMEngine(
        EngineSettings(
            model_folder=tmp_path / "int4", context_length=CONTEXT, max_num_seqs=4, kv_cache_bytes=1 << 26,
            block_size=32, stop_token_ids=(0,),
        )
    )  # fmt: skip

    async def episodes() -> tuple[Sample, Sample]:
        spec = GymSpec(name="tools", reference="tools", args=ARGS)
        found = []
        with Scorer([spec], num_workers=1) as scorer:
            for _ in range(2):
                sample, score = await play(
                    Scripted(engine, chat, script), scorer, draw, first, group="g", world_seed=0,
                    turn_seed=partial(sample_seed, 0),
                )  # fmt: skip
                assert score is not None and score.status is Status.OK and score.value == 1.0
                found.append(sample)
            stored = json.loads(json.dumps([turn_as_json(one.turn) for one in found[0].turns]))
            turns = [turn_of_json(turn) for turn in stored]
            again = await asyncio.wrap_future(scorer.submit_episode("again", "tools", task, turns, seed=0))
            assert again.value == 1.0 and again.components["num_questions"] == score.components["num_questions"]
        return found[0], found[1]

    limits = EpisodeLimits(max_turns=60, max_tokens=3000)
    draw = Draw(index=0, gym="tools", task=task, budget=400, tools=tuple(tools), limits=limits)
    first = SampleRequest(id="e", prompt_ids=chat.prompt_ids(task.prompt), budget=400, temperature=1.0, seed=7)
    try:
        one, same = asyncio.run(episodes())
    finally:
        engine.close()
    assert one == same, "what the user says is a function of its seed"
    heard = [call.heard for played in one.turns for call in played.turn.calls if call.tool == "ask_user"]
    assert all(heard) and heard[0] != heard[1], "each question has a seed of its own"
    assert [part.is_sampled for part in one.segments[:3]] == [True, False, True]
    assert chat.decode(one.segments[1].token_ids) == f"{heard[0]}\n"


GYM = str(Path(__file__).with_name("asking_gym.py"))
FEW = (
    f'gyms=[{{name="asking", gym="{GYM}", budget=16, episode_tokens=120, max_turns=7, '
    'args={style="bare", min_operand=10, num_operands=3}}]',
    "num_steps=3", "checkpoint.every=1", "checkpoint.keep=3", "warmup.num_steps=60", "warmup.batch_size=8",
    "eval.num_tasks=8", "ptx.source.gym=asking", "rollout.segment_tokens=2", "learner.drop_zero_spread=false",
    "persona.max_tokens=4",
)  # fmt: skip


def test_a_run_whose_policy_answers_itself_goes_on_from_a_stop_to_the_same_samples(tmp_path: Path) -> None:
    """In one process: episodes that go on in another are in tests/integration/test_environments.py."""
    runs, straight, resumed = Runs(), tmp_path / "straight", tmp_path / "resumed"
    run_here(straight, FEW, config="tiny_tools.toml")
    carried = (straight / "checkpoints" / "step_000001" / "run.json").read_text()
    assert '"heard"' in carried, "no episode went on in which somebody was asked"
    assert "at step 1" in run_here(as_of(straight, 1, resumed), FEW, config="tiny_tools.toml")
    assert without_times(runs.rows(resumed)) == without_times(runs.rows(straight))
    rows = []
    for step in range(3):
        name = f"rollouts/step_{step:06d}.jsonl"
        assert (resumed / name).read_bytes() == (straight / name).read_bytes()
        rows += runs.rows(straight, name)
    asked = [
        (call, said)
        for row in rows
        for turn, reply in zip(row["episode"]["turns"], row["episode"]["replies"], strict=True)
        for call in turn.get("calls", [])
        for said in reply
        if call["arguments"] is not None and said.get("tool_call_id") == call["id"]
    ]
    assert len(asked) > 10, "nobody was asked"
    assert all(call["heard"] == said["content"] for call, said in asked)
    assert len({call["heard"] for call, _ in asked}) > 1
