"""Several sources of curated conversations, some of them held out, under a weight that changes."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest

from configs.load import ConfigError, load_config
from gyms.api import message
from rl.curated import Curated, PtxBatch, Source, split
from rl.ptx import Conversation, PtxData
from rl.settings import ptx_batch
from rollout.chat import ChatFormat


@pytest.fixture(scope="module")
def chat(tiny_folder) -> ChatFormat:
    return ChatFormat(tiny_folder, use_template=False)


def conversations(num: int, operand: str) -> list[Conversation]:
    return [Conversation((message("user", f"{i}{operand}="), message("assistant", str(i)))) for i in range(num)]


def source(chat, num: int, operand: str, weight: float = 1.0) -> Source:
    return Source(data=PtxData(conversations(num, operand), chat, max_tokens=64), weight=weight)


def prompts(chat, batch) -> list[str]:
    return [chat.decode(sample.prefix) for sample in batch]


def test_one_source_gives_the_batches_that_it_gives_alone(chat):
    one = source(chat, 5, "+")
    for update in range(4):
        how = {"seed": 3, "stream": 1, "batch_size": 3, "num_conversations": 4}
        assert list(Curated([one]).batch(update, **how)) == one.data.batch(update, **how)


def test_sources_come_in_proportion_to_their_weights_and_each_shows_all_it_has(chat):
    both = Curated([source(chat, 4, "+", weight=3.0), source(chat, 2, "-", weight=1.0)])
    found = [p for update in range(4) for p in prompts(chat, both.batch(update, seed=0, stream=0, batch_size=4))]
    assert Counter("+" in p for p in found) == {True: 12, False: 4}
    assert Counter(found) == {"0+=": 3, "1+=": 3, "2+=": 3, "3+=": 3, "0-=": 2, "1-=": 2}


def test_what_is_held_out_is_in_no_batch(chat):
    train, heldout = split(conversations(6, "+"), num_heldout=2, seed=4)
    assert len(train) == 4 and len(heldout) == 2
    names = [one[0]["content"] for part in (train, heldout) for one in part]
    assert sorted(names) == [f"{i}+=" for i in range(6)]
    assert [one[0]["content"] for one in split(conversations(6, "+"), num_heldout=2, seed=5)[1]] != names[4:]
    assert split(conversations(6, "+"), num_heldout=0, seed=4) == (conversations(6, "+"), ())
    with pytest.raises(ValueError, match=r"ptx.num_heldout = 6 leaves nothing of a source of 6"):
        split(conversations(6, "+"), num_heldout=6, seed=4)
    one = Source(data=PtxData(train, chat, max_tokens=64), heldout=PtxData(heldout, chat, max_tokens=64))
    curated = Curated([one, source(chat, 3, "-")])
    assert prompts(chat, curated.heldout) == names[4:]
    seen = [p for update in range(9) for p in prompts(chat, curated.batch(update, seed=0, stream=0, batch_size=4))]
    assert not set(names[4:]) & set(seen)


GIVEN = (
    'model={source="tiny"}', 'gyms=[{name="a",gym="arithmetic"},{name="b",gym="arithmetic"}]', "num_steps=5",
    "learner.max_microbatch_tokens=4096", "learner.num_minibatches=2", 'ptx.source.gym="a"', "ptx.batch_size=2",
)  # fmt: skip


def test_the_weight_follows_its_schedule_and_the_first_update_of_a_step_measures(chat):
    train, heldout = split(conversations(6, "+"), num_heldout=2, seed=0)
    data = Curated([Source(data=PtxData(train, chat, max_tokens=64), heldout=PtxData(heldout, chat, max_tokens=64))])
    config = load_config([], (*GIVEN, "ptx.coef=0.5", "ptx.coef_end_frac=0.2", "ptx.heldout_every=2"))
    batches = [[ptx_batch(config, data, step=step, minibatch=k) for k in (0, 1)] for step in range(5)]
    assert [pair[0].scale for pair in batches] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert [[len(batch.heldout) for batch in pair] for pair in batches] == [[2, 0], [0, 0]] * 2 + [[2, 0]]
    assert [len(batch) for pair in batches for batch in pair] == [2] * 10
    off = ptx_batch(load_config([], GIVEN), data, step=0, minibatch=0)
    assert len(off) == 0 and len(off.heldout) == 2  # forgetting is seen without the loss too
    assert ptx_batch(config, None, step=0, minibatch=0) == PtxBatch()
    sent = pickle.loads(pickle.dumps(batches[1][0]))
    assert (sent, sent.scale, sent.heldout) == (batches[1][0], batches[1][0].scale, batches[1][0].heldout)


def test_settings_that_do_not_go_together_are_refused():
    def refused(*more):
        with pytest.raises(ConfigError) as caught:
            load_config([], (*GIVEN, *more))
        return str(caught.value)

    assert "each of them must name one of" in refused("ptx.more=[{weight=2.0}]")
    assert "give each gym as a source of its own" in refused('ptx.source.gym=["a","b"]', "ptx.num_heldout=3")
    assert "ptx.more.1.gym = 'c' is none of this config's gyms" in refused('ptx.more=[{gym="b"},{gym="c"}]')
    assert (
        load_config([], (*GIVEN, 'ptx.more=[{gym="b",weight=0.5}]', "ptx.num_heldout=3")).ptx.sources[1].weight == 0.5
    )
