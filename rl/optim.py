"""One optimiser over all masters: AdamW, or Muon on the matrices and AdamW on the rest.

Kimi K2 trains with Muon, RL included (K2 section 2.1, algorithm 1; 3.2.3):

    M <- mu M + G,    O = NewtonSchulz(M) * 0.2 sqrt(max(out, in)),    W <- W - lr (O + weight_decay W)

The factor gives an update the root mean square of AdamW's, so that one learning rate fits both. torch.optim.Muon does
this for 2-D tensors (its momentum is scaled by 1 - mu, which NewtonSchulz takes out again); here it gets every matrix
of the checkpoint by itself, as a view into its master: of a parameter that holds all experts of a layer, or gate and up
in one, each is orthogonalised alone. Embeddings, the head, norms and biases go to AdamW, as in K2.

QK-Clip, the other half of MuonClip, is in `rl.qk_clip`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from rollout.quant.views import View, linear_views

__all__ = ["Optimizer"]

SAMPLED = 1 << 16
"""Entries of a master that the size of an update is measured on, about."""


class Optimizer:
    """Steps fp32 masters that carry their gradients in `.grad`.

    Args:
        masters: fp32 tensors by parameter name.
        model: says which of them are matrices, and of which layout.
        kind: `adamw` for everything, or `muon`.
        betas, weight_decay: of AdamW; the decay is Muon's too, and falls on matrices only.
        momentum: mu of Muon.
        add_up: sums numbers over the ranks of a learner, each of which steps its own rows.
    """

    def __init__(
        self,
        masters: Mapping[str, Tensor],
        model: Any,
        *,
        kind: Literal["adamw", "muon"],
        betas: tuple[float, float],
        weight_decay: float,
        momentum: float,
        add_up: Callable[[Sequence[float]], Sequence[float]] | None = None,
    ) -> None:
        self._masters, self._add_up = masters, add_up
        cuts = _muon_matrices(model) if kind == "muon" else {}
        self._cuts = {name: parts for name, parts in cuts.items() if name in masters}  # frozen ones have no master
        others = {name: master for name, master in masters.items() if name not in self._cuts}
        self._adamw = torch.optim.AdamW(
            [
                {"params": [p for p in others.values() if p.ndim >= 2], "weight_decay": weight_decay},
                {"params": [p for p in others.values() if p.ndim < 2], "weight_decay": 0.0},
            ],
            lr=0.0, betas=betas, eps=1e-8, fused=True,
        )  # fmt: skip
        self._matrices = {  # detached: tensors of their own, with gradients of their own, in the master's memory
            name: [part.of(masters[name]).detach() for part in parts] for name, parts in self._cuts.items()
        }
        self._muon: torch.optim.Muon | None = None
        if self._cuts:
            self._muon = torch.optim.Muon(
                [matrix for matrices in self._matrices.values() for matrix in matrices],
                lr=0.0, weight_decay=weight_decay, momentum=momentum, nesterov=False, adjust_lr_fn="match_rms_adamw",
            )  # fmt: skip

    @torch.no_grad()
    def step(self, lr: float) -> float:
        """One update of every master that has a gradient; returns the norm of the change over that of the masters.

        The norms are estimated from `SAMPLED` entries of each larger master, evenly spread: a copy of all of them would
        cost as much memory as a moment.
        """
        before = {name: _sampled(master).clone() for name, master in self._masters.items()}
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = lr
        for name, matrices in self._matrices.items():
            gradient = self._masters[name].grad
            for part, matrix in zip(self._cuts[name], matrices, strict=True):
                matrix.grad = None if gradient is None else part.of(gradient)
        for optimizer in self._optimizers.values():
            optimizer.step()
        for matrices in self._matrices.values():
            for matrix in matrices:
                matrix.grad = None
        change, size = torch.zeros(()), torch.zeros(())
        for name, master in self._masters.items():
            if not master.numel():
                continue
            each = master.numel() / before[name].numel()
            change = change + each * (_sampled(master) - before[name]).square().sum()
            size = size + each * before[name].square().sum()
        if self._add_up is not None:
            change, size = torch.tensor(self._add_up([float(change), float(size)]))
        return float((change / size).sqrt()) if size else 0.0

    def state_dict(self) -> dict[str, Any]:
        """The moments, for `torch.save`."""
        return {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Read what `state_dict` gave.

        Raises:
            ValueError: the moments are those of another optimiser.
        """
        self._check_kind(state)
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state[name])

    def moments(self) -> dict[str, dict[str, Tensor]]:
        """AdamW's, by parameter name, as they are: `exp_avg`, `exp_avg_sq`, and `step`, a scalar."""
        names = {id(master): name for name, master in self._masters.items()}
        return {names[id(master)]: state for master, state in self._adamw.state.items()}

    def named(self, state: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
        """The moments in what `state_dict` gave for the same model, by parameter name.

        Raises:
            ValueError: the moments are those of another optimiser.
        """
        self._check_kind(state)
        names = {id(master): name for name, master in self._masters.items()}
        order = [names[id(master)] for group in self._adamw.param_groups for master in group["params"]]
        return {order[i]: moment for i, moment in state["adamw"]["state"].items()}

    def load_moments(self, moments: Mapping[str, dict[str, Tensor]]) -> None:
        """Take moments that `moments` gave, of this process's part of the masters.

        Raises:
            ValueError: this optimiser has others.
        """
        self._check_kind({"adamw": moments})
        for name, state in moments.items():
            self._adamw.state[self._masters[name]] = dict(state)

    def _check_kind(self, state: Mapping[str, Any]) -> None:
        if set(state) != set(self._optimizers):
            raise ValueError(
                f"the checkpoint holds the moments of {', '.join(state)}, learner.optimizer asks for those of "
                f"{', '.join(self._optimizers)}: go on with the optimiser that the run began with"
            )

    @property
    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"adamw": self._adamw} if self._muon is None else {"muon": self._muon, "adamw": self._adamw}


def _sampled(master: Tensor) -> Tensor:
    """[n] entries at equal distances, an odd number so that they are not of a few columns alone."""
    return master.flatten()[:: (master.numel() // SAMPLED) | 1]


def _muon_matrices(model: Any) -> dict[str, tuple[View, ...]]:
    """Parameter name -> its matrices, for every linear map but the head (which may be tied to the embedding)."""
    head = model.get_output_embeddings()
    return {
        entry.parameter_name: entry.parts
        for entry in linear_views(model)
        if head is None or entry.parameter is not head.weight
    }
