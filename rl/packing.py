"""Shared-prefix packing: a prompt is computed once, its K responses behind it, each blind to the others.

A row holds one prompt and several continuations. Positions restart after the prompt for every continuation; a mask in
the shape of a tree (`rl.attention`) lets a continuation see the prompt and itself only. The network then gives every
continuation the log-probabilities it would get alone, and the prompt is paid for once (docs/algorithm.md).
Rows of similar length form micro-batches of at most `max_tokens` tokens, padding included. What all rows of one begin
with (a system prompt, descriptions of tools, the chat template) is given to the model once, in one line with what is
each row's own (`folded`); attention alone needs rows, and makes them again (`unfolded`). All of it is a pure function
of the sequences and `max_tokens`: the pass of old log-probabilities and the update see identical shapes, so on CPU
their results agree bit for bit.

Left out: models whose layers are not plain causal attention (sliding windows, recurrences) cannot use a tree mask;
`rl.forward` refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

__all__ = ["MicroBatch", "Tree", "folded", "pack", "padded", "per_token", "unfolded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A prompt and its continuations.

    Example:
        Tree(prefix=(1, 2), continuations=((7, 8), (9,)), ids=(0, 1))
    """

    prefix: tuple[int, ...]
    """Prompt token ids, at least one."""
    continuations: tuple[tuple[int, ...], ...]
    """Token ids of each continuation, at least one each."""
    ids: tuple[int, ...]
    """A number for each continuation, unique over all trees that are packed together."""

    @property
    def num_tokens(self) -> int:
        """Length of the row that holds it."""
        return len(self.prefix) + sum(len(c) for c in self.continuations)


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """One forward pass. R rows, S columns, M predicted tokens of n continuations of at most T tokens."""

    input_ids: Tensor
    """[R, S] int64, padded with 0."""
    position_ids: Tensor
    """[R, S] int64."""
    branches: Tensor
    """[R, S] int64: -1 padding, 0 prompt, 1.. which of the row's continuations. What a token may see follows from it
    (`rl.attention.tree_mask`)."""
    rows: Tensor
    """[M] row of the position that predicts each token."""
    columns: Tensor
    """[M] column of that position."""
    targets: Tensor
    """[M] the token that is predicted."""
    sample_index: Tensor
    """[M] which of the n continuations it belongs to."""
    token_index: Tensor
    """[M] its place in that continuation."""
    ids: tuple[int, ...]
    """The n continuations' numbers."""
    max_length: int
    """T, the longest continuation."""
    num_shared: int
    """Columns from the first on that all rows have in common: those of the chat template, of a system prompt."""
    routing: Tensor | None = None
    """What `rl.routing.routing_of` gives: experts to be replayed; None: none are."""

    def places(self) -> Tensor:
        """[M] where that position stands in the one line that a model is given (`folded`)."""
        num_own = self.input_ids.shape[1] - self.num_shared
        return torch.where(self.columns < self.num_shared, 0, self.rows * num_own) + self.columns

    def scatter(self, values_M: Tensor) -> Tensor:
        """[M] values back to [n, T], 0 in the padding."""
        out = values_M.new_zeros((len(self.ids), self.max_length))
        return out.index_put((self.sample_index, self.token_index), values_M)


def pack(trees: Sequence[Tree], *, max_tokens: int) -> list[MicroBatch]:
    """Trees to micro-batches of at most `max_tokens` tokens each, rows times columns, longest rows first.

    Raises:
        ValueError: a prompt with a single continuation is longer than `max_tokens`.
    """
    rows = [part for tree in trees for part in _split(tree, max_tokens)]
    rows.sort(key=lambda tree: -tree.num_tokens)  # stable: equal lengths keep their order
    batches: list[MicroBatch] = []
    start = 0
    while start < len(rows):
        fitting = max(max_tokens // rows[start].num_tokens, 1)
        batches.append(_micro_batch(rows[start : start + fitting]))
        start += fitting
    return batches


def _split(tree: Tree, max_tokens: int) -> list[Tree]:
    """A tree that exceeds a row becomes several, each with the prefix again."""
    parts: list[Tree] = []
    chosen: list[int] = []
    used = len(tree.prefix)
    for i, continuation in enumerate(tree.continuations):
        if len(tree.prefix) + len(continuation) > max_tokens:
            raise ValueError(
                f"a sequence of {len(tree.prefix) + len(continuation)} tokens exceeds learner.max_microbatch_tokens = "
                f"{max_tokens}; raise it"
            )
        if used + len(continuation) > max_tokens:
            parts.append(_subtree(tree, chosen))
            chosen, used = [], len(tree.prefix)
        chosen.append(i)
        used += len(continuation)
    return [*parts, _subtree(tree, chosen)]


def _subtree(tree: Tree, chosen: Sequence[int]) -> Tree:
    return Tree(
        prefix=tree.prefix,
        continuations=tuple(tree.continuations[i] for i in chosen),
        ids=tuple(tree.ids[i] for i in chosen),
    )


def _micro_batch(trees: Sequence[Tree]) -> MicroBatch:
    num_rows, width = len(trees), max(tree.num_tokens for tree in trees)
    input_ids = torch.zeros((num_rows, width), dtype=torch.int64)
    position_ids = torch.zeros((num_rows, width), dtype=torch.int64)
    branches = torch.full((num_rows, width), -1, dtype=torch.int64)
    rows: list[int] = []
    columns: list[int] = []
    sample_index: list[int] = []
    token_index: list[int] = []
    targets: list[int] = []
    ids: list[int] = []
    for r, tree in enumerate(trees):
        p = len(tree.prefix)
        input_ids[r, :p] = torch.tensor(tree.prefix)
        position_ids[r, :p] = torch.arange(p)
        branches[r, :p] = 0
        at = p
        for b, (number, tokens) in enumerate(zip(tree.ids, tree.continuations, strict=True), start=1):
            n = len(tokens)
            input_ids[r, at : at + n] = torch.tensor(tokens)
            position_ids[r, at : at + n] = torch.arange(p, p + n)
            branches[r, at : at + n] = b
            rows += [r] * n
            columns += [p - 1, *range(at, at + n - 1)]  # the prompt's last token predicts every first token
            targets += tokens
            sample_index += [len(ids)] * n
            token_index += range(n)
            ids.append(number)
            at += n
    return MicroBatch(
        input_ids=input_ids,
        position_ids=position_ids,
        branches=branches,
        rows=torch.tensor(rows),
        columns=torch.tensor(columns),
        targets=torch.tensor(targets),
        sample_index=torch.tensor(sample_index),
        token_index=torch.tensor(token_index),
        ids=tuple(ids),
        max_length=max(len(c) for tree in trees for c in tree.continuations),
        num_shared=_num_shared(trees),
    )


def _num_shared(trees: Sequence[Tree]) -> int:
    """How many tokens all prompts begin with; a row alone shares none."""
    if len(trees) == 1:
        return 0
    columns = zip(*(tree.prefix for tree in trees), strict=False)
    return sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, columns))


def folded(values_RS: Tensor, num_shared: int) -> Tensor:
    """[1, F, ...] the line that a model is given: the columns that all rows share, once, and then each row's own."""
    return torch.cat([values_RS[:1, :num_shared], values_RS[:, num_shared:].flatten(0, 1)[None]], dim=1)


def unfolded(values_1F: Tensor, num_shared: int, num_rows: int) -> Tensor:
    """[R, S, ...] the rows again: what attention is computed on."""
    own = values_1F[0, num_shared:].unflatten(0, (num_rows, -1))
    if not num_shared:
        return own
    return torch.cat([values_1F[:, :num_shared].expand(num_rows, *(-1,) * (values_1F.ndim - 1)), own], dim=1)


def padded(rows: Sequence[Sequence[float]], micro: MicroBatch, device: torch.device) -> Tensor:
    """Ragged rows to [n, T] fp32, 0 in the padding."""
    out = torch.zeros((len(rows), micro.max_length))
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.tensor(row, dtype=torch.float32)
    return out.to(device)


def per_token(rows: Sequence[Sequence[float]]) -> Tensor:
    """[M] values of ragged rows, in the order of the micro-batch's tokens."""
    return torch.tensor([value for row in rows for value in row], dtype=torch.float32)
