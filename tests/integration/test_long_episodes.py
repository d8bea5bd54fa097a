"""Episodes of many turns through the real engine: what is prefilled, contexts that are rewritten, and a kill."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from configs.schema import TinyModelConfig
from gyms.api import Message, Score, Status, Task, Tool, Turn, message
from gyms.load import GymSpec
from gyms.mixture import Draw, EpisodeLimits
from reward.rules import Reward
from reward.scorer import Scorer
from rl.batch import Group, ScoredSample, learning_batch
from rl.checkpoint import latest_checkpoint
from rl.episodes import play
from rl.learner import Learner
from rl.tiny_model import build_tiny_model
from rollout.chat import ChatFormat
from rollout.context import Round
from rollout.engine.engine import EngineSettings, VLLMEngine
from rollout.types import FinishReason, Sample, SampleRequest
from tests.integration.harness import PATIENCE, Runs, new_learner, without_times

pytestmark = pytest.mark.slow

GYM = str(Path(__file__).with_name("walk_gym.py"))
PROMPT = tuple(range(40, 60))
ALPHABET = "".join(map(chr, range(33, 500)))
STOPS = tuple(range(0, 440, 20))
"""So many tokens end a turn of this random model that it says some twenty; the engine itself knows no script."""


class Alone:
    """One engine as an episode sees it, one request at a time."""

    def __init__(self, engine: VLLMEngine) -> None:
        self.engine = engine
        self.prefilled: list[int] = []
        """Tokens that were prefilled for each turn."""
        self.held: list[int] = []
        """Bytes of Python's memory before each turn; 0 while nobody counts them."""

    async def sample(self, request: SampleRequest, *, group: str) -> Sample:
        if tracemalloc.is_tracing():
            gc.collect()
        self.held.append(tracemalloc.get_traced_memory()[0])
        before, deadline = self.engine.num_prefilled_tokens, time.monotonic() + PATIENCE
        self.engine.submit([request])
        while not (found := self.engine.finished(wait_seconds=1.0)):
            assert time.monotonic() < deadline, "the engine does not finish"
        self.prefilled.append(self.engine.num_prefilled_tokens - before)
        return found[0]

    def read_turn(self, sample: Sample, tools: Sequence[Tool], *, number: int) -> Turn:
        return Turn(text=sample.text, is_truncated=sample.is_truncated)

    def reply_ids(self, draw: Draw, reply: Sequence[Message]) -> tuple[int, ...]:
        return tuple(2 + ord(sign) % 400 for said in reply for sign in said["content"])

    def left_out(self, draw: Draw, rounds: Sequence[Round]) -> frozenset[int]:
        return frozenset()

    def context_ids(self, draw: Draw, rounds: Sequence[Round], *, without: frozenset[int]) -> tuple[int, ...]:
        parts = [part for one in rounds for part in (one.turn_ids, self.reply_ids(draw, one.reply))]
        return tuple(token for part in (PROMPT, *parts) for token in part)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("long")
    shape = TinyModelConfig(hidden_size=64, num_layers=2, num_heads=2, intermediate_size=96, alphabet=ALPHABET)
    build_tiny_model(folder / "model", shape, context_length=16_384, seed=3)
    new_learner(folder / "model").export(folder / "int4")
    settings = EngineSettings(
        model_folder=folder / "int4", context_length=16_384, max_num_seqs=4, kv_cache_bytes=1 << 26, block_size=32,
        stop_token_ids=STOPS,
    )  # fmt: skip
    found = VLLMEngine(settings)
    yield found
    found.close()


def walked(engine: VLLMEngine, *, num_turns: int, name: str, **limits) -> tuple[Sample, Alone]:
    """An episode of so many turns, and what was seen of it."""
    spec = GymSpec(name="walk", reference=GYM, args={"num_turns": num_turns, "reply_chars": 48})
    task, policy = Task(id="t", prompt=(), data={"n": num_turns}), Alone(engine)
    facts = {"max_turns": num_turns, "max_tokens": 60_000} | limits
    draw = Draw(index=0, gym="walk", task=task, budget=400, limits=EpisodeLimits(**facts))
    first = SampleRequest(id=name, prompt_ids=PROMPT, budget=400, temperature=1.0, seed=7)

    async def whole() -> Sample:
        with Scorer([spec], num_workers=1) as scorer:
            sample, score = await play(
                policy, scorer, draw, first, group=name, world_seed=0, turn_seed=lambda turn: 1000 + turn
            )
            assert score is not None and score.value is not None
            return sample

    return asyncio.run(whole()), policy


def test_a_turn_prefills_little_more_than_what_is_new_over_a_hundred_turns(engine: VLLMEngine) -> None:
    sample, seen = walked(engine, num_turns=100, name="hundred")
    prefilled = seen.prefilled
    assert len(prefilled) == len(sample.turns) == 100 and sample.finish_reason is FinishReason.STOP
    num_new = len(sample.prompt_ids) + sample.num_tokens
    assert num_new > 3000, "too short to show anything"
    assert sum(prefilled) <= 1.1 * num_new
    # of a block that was not full at the end of a turn, its tokens are prefilled again: at most 31, and the last one
    assert max(prefilled[1:]) <= 48 + 32 + 32


class Templated(Alone):
    """What it sees is what a chat template writes, which leaves the thoughts of earlier turns out."""

    def __init__(self, engine: VLLMEngine, chat: ChatFormat) -> None:
        super().__init__(engine)
        self.chat = chat

    def read_turn(self, sample: Sample, tools: Sequence[Tool], *, number: int) -> Turn:
        return self.chat.read_turn(sample, tools, number=number)

    def reply_ids(self, draw: Draw, reply: Sequence[Message]) -> tuple[int, ...]:
        return self.chat.reply_ids(draw.task.prompt, reply)

    def left_out(self, draw: Draw, rounds: Sequence[Round]) -> frozenset[int]:
        return self.chat.left_out(draw.task.prompt, rounds)

    def context_ids(self, draw: Draw, rounds: Sequence[Round], *, without: frozenset[int]) -> tuple[int, ...]:
        return self.chat.context_ids(draw.task.prompt, rounds, without=without)


OPENS, CLOSES = "\u00ab", "\u00bb"
"""Of thoughts: characters of the alphabet, the second of which this model says now and then."""
STRIPS = (
    (
        "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' %}{{ m.content.split('CLOSES')[-1] }}"
        "{% else %}{{ m.content }}{% endif %}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]OPENS{% endif %}"
    )
    .replace("OPENS", OPENS)
    .replace("CLOSES", CLOSES)
)
"""As DeepSeek R1's: a turn begins inside of thoughts, and those of earlier turns are not shown."""


def test_the_learner_sees_the_contexts_that_a_template_wrote_without_earlier_thoughts(engine: VLLMEngine) -> None:
    """Each turn is a training sequence; with the thoughts in its context the learner disagrees with the engine."""
    folder, num_turns = engine.settings.model_folder.parent / "model", 30
    (folder / "chat_template.jinja").write_text(STRIPS)
    chat = ChatFormat(folder, use_template=True, thoughts=(OPENS, CLOSES))
    chat.check_turns()
    task = Task(id="t", prompt=(message("user", "1+2?"),), data={"n": num_turns})
    limits = EpisodeLimits(max_turns=num_turns, max_tokens=60_000)
    draw = Draw(index=0, gym="walk", task=task, budget=400, limits=limits)
    spec = GymSpec(name="walk", reference=GYM, args={"num_turns": num_turns, "reply_chars": 3})

    async def siblings() -> list[Sample]:
        found = []
        with Scorer([spec], num_workers=1) as scorer:
            for k in range(2):
                first = SampleRequest(
                    id=f"thinks/{k}", prompt_ids=chat.prompt_ids(task.prompt), budget=400, temperature=1.0, seed=k
                )
                sample, _ = await play(
                    Templated(engine, chat), scorer, draw, first, group="thinks", world_seed=0,
                    turn_seed=lambda turn, k=k: 1000 * k + turn,
                )  # fmt: skip
                found.append(sample)
        return found

    samples = asyncio.run(siblings())
    read, num_closed = chat.tokenizer.decode, 0
    for sample in samples:
        assert sample.rewritten_for == "thoughts" and len(sample.sequences) == len(sample.turns) == num_turns
        past = "[user]1+2?<end>[assistant]"
        for number, (context, (said, *_)) in enumerate(sample.sequences, start=1):
            assert read(list(context)) == past + OPENS
            whole = read(list(said.token_ids))
            answer = whole.rpartition(CLOSES)[2] if CLOSES in whole else "<end>" if whole.endswith("<end>") else ""
            num_closed += CLOSES in whole
            past += f"{answer}[user]{number:03}<end>[assistant]"
    assert num_closed, "nothing of any turn was ever kept"

    learner = new_learner(folder, max_microbatch_tokens=4096)
    gap, num_sequences = gap_of(learner, draw, samples)
    assert num_sequences == 2 * num_turns and gap < 0.05
    wrong, _ = gap_of(learner, draw, [with_thoughts(chat, task, sample) for sample in samples])
    assert wrong > 20 * gap, "this test shows nothing"


def with_thoughts(chat: ChatFormat, task: Task, sample: Sample) -> Sample:
    """The same turns, as if they had been sampled with the thoughts of earlier ones before them."""
    rounds = [
        Round(turn_ids=segment.token_ids, reply=played.reply)
        for segment, played in zip(sample.segments, sample.turns, strict=True)
    ]
    contexts = [chat.context_ids(task.prompt, rounds[:n], without=frozenset()) for n in range(len(rounds))]
    parts = [replace(segment, context_ids=context) for segment, context in zip(sample.segments, contexts, strict=True)]
    return replace(sample, segments=tuple(parts))


def gap_of(learner: Learner, draw: Draw, samples: Sequence[Sample]) -> tuple[float, int]:
    """Mean difference of learner and engine over what the siblings said, and the sequences that they are learned in."""
    scored = tuple(
        ScoredSample(
            sample=sample,
            score=Score(status=Status.OK, value=float(k)),
            reward=Reward(value=float(k), is_masked=False),
        )
        for k, sample in enumerate(samples)
    )
    batch = learning_batch(
        [Group(draw=draw, samples=scored)], step=0, seed=0, num_minibatches=1, drop_zero_spread=True
    )  # fmt: skip
    minibatches = learner.add_old_logprobs(batch.minibatches)
    learned = [sample for minibatch in minibatches for sample in minibatch.samples]
    gap = batch.gap({sample.number: sample.old_logprobs or () for sample in learned})
    assert gap is not None
    return gap.mean, len(learned)


def test_three_hundred_turns_in_a_context_that_holds_a_few_dozen(engine: VLLMEngine) -> None:
    limits = {"context": "keep_last", "max_context": 2000}
    tracemalloc.start()
    try:
        sample, seen = walked(engine, num_turns=300, name="rewritten", **limits)
    finally:
        tracemalloc.stop()
    assert len(sample.turns) == 300 and sample.finish_reason is FinishReason.STOP
    sequences = sample.sequences
    assert len(sequences) > 3
    lengths = [len(ids) + sum(len(part.token_ids) for part in parts) for ids, parts in sequences]
    assert max(lengths) <= len(sample.prompt_ids) + 2000
    assert sum(part.is_sampled for _, parts in sequences for part in parts) == 300
    # what is kept of an episode are its turns and contexts: the last 50 add as much as earlier ones. Were all turns so
    # far kept at each turn, they would add 27,500 / 7,500 times as much, the sums of the numbers of the turns
    assert seen.held[299] - seen.held[249] < 2 * (seen.held[99] - seen.held[49])
    again, _ = walked(engine, num_turns=300, name="rewritten", **limits, max_turns=40)
    assert again.finish_reason is FinishReason.TURNS
    assert again.segments == sample.segments[: len(again.segments)], "an episode is a function of its request"


LONG = (
    f'gyms=[{{name="walk", gym="{GYM}", budget=8, episode_tokens=4000, context="keep_last", context_tokens=600}}]',
    "model.context_length=2048", 'model.tiny={alphabet="0123456789+-\\n", num_layers=2}', "num_steps=4",
    "rollout.prompts_per_step=1", "rollout.samples_per_prompt=2", "rollout.segment_tokens=200", "checkpoint.every=1",
    "warmup.num_steps=60", "warmup.batch_size=4", "ptx.source.gym=walk", "ptx.batch_size=1", "eval.num_tasks=1",
    "eval.samples_per_task=1", "learner.num_minibatches=1", "learner.drop_zero_spread=false",
)  # fmt: skip
"""Episodes of 300 turns, a hundred a step, in contexts of 600 tokens."""


def test_an_episode_of_300_turns_is_the_same_after_a_kill_in_its_middle(tmp_path: Path) -> None:
    runs = Runs("tiny_tools.toml")
    straight, unlucky = tmp_path / "straight", tmp_path / "unlucky"
    runs.finish(straight, LONG)
    process = runs.start(unlucky, LONG)
    deadline = time.monotonic() + PATIENCE
    while not (unlucky / "checkpoints" / "step_000001").is_dir():  # the first hundred turns are carried in it
        assert process.poll() is None and time.monotonic() < deadline, "the run does not come to its second step"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    checkpoint = latest_checkpoint(unlucky / "checkpoints")
    assert checkpoint is not None
    turns = [len(sibling["turns"]) for group in checkpoint.run["carried"] for sibling in group["siblings"]]
    assert 100 <= max(turns) < 300, "the kill hit an episode in its middle"
    assert "going on from" in runs.finish(unlucky, LONG)
    assert without_times(runs.rows(unlucky)) == without_times(runs.rows(straight))
    rows = []
    for step in range(4):
        name = f"rollouts/step_{step:06d}.jsonl"
        assert (unlucky / name).read_bytes() == (straight / name).read_bytes()
        rows += runs.rows(straight, name)
    assert [len(row["episode"]["turns"]) for row in rows] == [300] * 4
    for row in rows:
        versions = [part["weight_version"] for part in row["segments"]]
        assert len(set(versions)) == 3 and versions == sorted(versions)
        assert sum("context_ids" in part for part in row["segments"]) > 1, "its context was never rewritten"
    gaps = [row["rollout/logprob_gap_mean"] for row in runs.rows(straight)]
    assert max(gap for gap in gaps if gap is not None) < 0.05, "engine and learner see the same contexts"
