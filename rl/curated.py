"""Several sources of curated conversations in one stream, and some of each kept apart to measure forgetting on.

Sources are mixed by weight, exactly over time: position i of the stream belongs to the source that is furthest behind
its share (`gyms.mixture.turn_of`), and is the n-th of that source. So which conversations an update sees stays a pure
function of (seed, stream, update), and a single source gives the very batches that it gives alone.

Conversations that are held out are in no batch, of the warm-up neither: their loss, measured before the first update of
a step, shows what the policy forgets of the curated behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gyms.mixture import turn_of
from gyms.permutation import permute
from rl.ptx import Conversation, PtxData, PtxSample

__all__ = ["Curated", "PtxBatch", "Source", "split"]


class PtxBatch(tuple[PtxSample, ...]):
    """The conversations of an update, the share of `ptx.coef` that it gives them, and those to measure on."""

    scale: float = 1.0
    heldout: tuple[PtxSample, ...] = ()


class Kept(Sequence[Conversation]):
    """Places `first` to `first + num` of a keyed order of conversations."""

    def __init__(self, source: Sequence[Conversation], first: int, num: int, seed: int) -> None:
        self._source, self._first, self._num, self._key = source, first, num, f"ptx heldout {seed}"

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, index):  # type: ignore[override]
        if not 0 <= index < self._num:
            raise IndexError(index)
        return self._source[permute(self._first + index, len(self._source), self._key)]


def split(
    source: Sequence[Conversation], *, num_heldout: int, seed: int
) -> tuple[Sequence[Conversation], Sequence[Conversation]]:
    """Those to learn from and those to measure on, chosen by the seed.

    Raises:
        ValueError: nothing would be left to learn from.
    """
    if not num_heldout:
        return source, ()
    if num_heldout >= len(source):
        raise ValueError(
            f"ptx.num_heldout = {num_heldout} leaves nothing of a source of {len(source)} conversations to learn from; "
            "lower it"
        )
    return Kept(source, num_heldout, len(source) - num_heldout, seed), Kept(source, 0, num_heldout, seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Conversations of one place."""

    data: PtxData
    weight: float = 1.0
    """Share of the positions, relative to the other sources'; > 0."""
    heldout: PtxData | None = None
    """Those to measure on."""


class Curated:
    """The curated conversations of a run.

    Args:
        sources: one or more.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self._weights = tuple(source.weight for source in sources)
        self._heldout: tuple[PtxSample, ...] | None = None

    def batch(
        self, update: int, *, seed: int, stream: int, batch_size: int, num_conversations: int | None = None
    ) -> PtxBatch:
        """The conversations of update number `update` (from 0) of a stream.

        Args:
            num_conversations: a fixed sample of so many of each source; None: all.
        """
        found = []
        for position in range(update * batch_size, (update + 1) * batch_size):
            which, number = turn_of(position, self._weights)
            data = self.sources[which].data
            size = min(num_conversations or len(data), len(data))
            found.append(data[data.drawn(number, size, seed=seed, stream=stream)])
        return PtxBatch(found)

    @property
    def heldout(self) -> tuple[PtxSample, ...]:
        """What forgetting is measured on; those of no use are left out."""
        if self._heldout is None:
            parts = [source.heldout for source in self.sources if source.heldout is not None]
            problems = [part.problems(range(len(part))) for part in parts]
            self._heldout = tuple(
                part[i] for part, bad in zip(parts, problems, strict=True) for i in range(len(part)) if i not in bad
            )
        return self._heldout
