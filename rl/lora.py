"""LoRA through the INT4 grid: small trained matrices instead of masters, merged and quantised after every update.

A quantised matrix W [out, in] stays as it was loaded, and its master is made from two small ones when it is needed:

    master = W + alpha / rank * B A          A [rank, in], B [out, rank], fp32; B starts at zero
    model  = fake_quantize(bf16(master))

So the learner computes with the merged weights on the grid, which are what the engines get: there is no adapter to
serve beside a base, and the law between learner and engine is that of full training. The gradient G of the quantised
weight goes straight through to the master (rl/qat.py) and from there to the two factors, scale * B^T G and
scale * G A^T, as soon as it is there: no gradient of a matrix's size outlives its
layer. Embeddings, norms, the head and whatever `quant.ignore` leaves in bfloat16 are frozen, and a run keeps W in
bfloat16, 2 bytes a weight instead of the 16 of master, gradient and moments.

Where the base lies on the grid already (weights that were quantised once and unpacked), small updates change no code at
all: the dead zone, measured in docs/int4.md. Start from the continuous weights, as in full training.

A is drawn from U(-1, 1) / sqrt(in), by the matrix's name, so it does not depend on the order of the model. peft was
left out: it wraps modules, and would miss experts that are held in one parameter; the views find them.

Shape letters: O out, I in, R rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import xxhash
from torch import Tensor

from rl.qat import Masters
from rollout.quant.grid import quantize_packed
from rollout.quant.scheme import QuantScheme

__all__ = ["LoraMasters", "LoraSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """Size of the adapters."""

    rank: int
    """Inner dimension of the product, > 0."""
    alpha: float
    """The product is multiplied by alpha / rank."""


class LoraMasters(Masters):
    """The adapters of a model and the image of base and adapters on the grid; a drop-in for `Masters`.

    `parameters` holds the adapters, `{matrix}.lora_A` and `.lora_B`: what the optimiser updates and a checkpoint has.

    Raises:
        ValueError: as `Masters`.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        scheme: QuantScheme,
        *,
        lora: LoraSettings,
        compute_dtype: torch.dtype,
        fake_quantize: bool = True,
    ) -> None:
        self._scale = lora.alpha / lora.rank
        self._base: dict[str, Tensor] = {}
        super().__init__(model, scheme, compute_dtype=compute_dtype, fake_quantize=fake_quantize)
        masters, self._base = self.parameters, {}
        self.parameters = {}
        for entry in self.views:
            bases = dict(entry.of(masters[entry.parameter_name]))
            for name, matrix in entry.views:
                num_out, num_in = matrix.shape
                self._base[name] = bases[name].to(torch.bfloat16)
                generator = torch.Generator().manual_seed(xxhash.xxh32_intdigest(name.encode()))
                drawn = torch.rand((lora.rank, num_in), generator=generator).mul_(2).sub_(1).mul_(num_in**-0.5)
                self.parameters[f"{name}.lora_A"] = drawn.to(matrix.device)
                self.parameters[f"{name}.lora_B"] = torch.zeros((num_out, lora.rank), device=matrix.device)
        quantised = {entry.parameter_name for entry in self.views}
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in quantised)
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Merge, and write the image into the model."""
        if not self._base:  # the parent's constructor: there are no adapters yet
            super().refresh()
            return
        for entry in self.views:
            for name, view in entry.views:
                master = self.merged(name)
                if self._is_quantised:
                    known = self.packed.get(name)
                    self.packed[name] = quantize_packed(master, self.scheme.group_size, values=view, out=known)
                else:
                    view.copy_(master.to(torch.bfloat16))

    def tensors(self) -> list[Mapping[str, object]]:
        """As of `Masters`, and the base."""
        return [*super().tensors(), self._base]

    def merged(self, name: str) -> Tensor:
        """[O, I] fp32: the matrix of this checkpoint name before it is quantised, base and product."""
        a, b = self.parameters[f"{name}.lora_A"], self.parameters[f"{name}.lora_B"]
        return torch.addmm(self._base[name].to(torch.float32), b, a, alpha=self._scale)

    def _collector(self, name: str) -> Callable[[Tensor], None]:
        """Hook that turns a parameter's gradient into its adapters' as soon as it is there."""
        entry = next((entry for entry in self.views if entry.parameter_name == name), None)

        @torch.no_grad()
        def collect(parameter: Tensor) -> None:
            assert parameter.grad is not None and entry is not None
            for view, gradient_OI in entry.of(parameter.grad):
                a, b = self.parameters[f"{view}.lora_A"], self.parameters[f"{view}.lora_B"]
                wide = gradient_OI.to(torch.float32)
                for factor, gradient in ((a, b.t() @ wide), (b, wide @ a.t())):
                    gradient *= self._scale
                    factor.grad = gradient if factor.grad is None else factor.grad.add_(gradient)
            parameter.grad = None

        return collect
