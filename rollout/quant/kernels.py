"""What the engines' INT4 kernels take: group sizes and dimensions, as vLLM's own checks have them.

A matrix that no kernel takes is refused by vLLM after minutes of loading, or served by a slow fallback. So the rules
are stated here, once for each kernel, and asked before anything starts. Read in vLLM 0.26 and 0.32:

- CPU: `CPUWNA16LinearKernel.can_implement` takes any even group, and inputs and outputs that are multiples of 32.
- CUDA: `MarlinLinearKernel.can_implement` takes groups of 32, 64, 128 or a whole row, of which a group scheme can say
  the first three. It pads a matrix to its tiles of 64 x 128 or 128 x 64 with zeros, so dimensions are free, as far as
  groups and eight codes to a word allow. Experts are not padded along the model's width
  (`check_moe_marlin_supports_layer`), which must be a multiple of 128. Groups of 128 go to Machete on Hopper, where its
  tiles fit, else to Marlin.

With tensor parallelism the rules hold for what a rank has: a slice of the outputs, or of the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CPU_WNA16", "MARLIN", "KernelRules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRules:
    """Which INT4 matrices a kernel takes."""

    name: str
    """For messages."""
    group_sizes: tuple[int, ...] | None
    """Groups it takes; None: any."""
    multiple: int
    """Inputs and outputs of a matrix are multiples of this."""
    expert_width_multiple: int
    """Of an expert, the side that is the model's width is a multiple of this."""

    def group_problem(self, group_size: int) -> str | None:
        """Why the kernel does not take groups of this size; None if it does."""
        if self.group_sizes is None or group_size in self.group_sizes:
            return None
        sizes = ", ".join(map(str, self.group_sizes))
        return f"{self.name} takes groups of {sizes} weights, and quant.group_size is {group_size}"

    def shape_problem(self, *, num_out: int, num_in: int, expert_width: int | None = None) -> str | None:
        """Why the kernel does not take a matrix; None if it does.

        Args:
            num_out, num_in: the matrix is [out, in].
            expert_width: which of the two is the model's width, if the matrix is of an expert.
        """
        if num_in % self.multiple or num_out % self.multiple:
            return f"{self.name} wants both to be multiples of {self.multiple}"
        if expert_width is not None and expert_width % self.expert_width_multiple:
            return f"{self.name} wants the width of experts to be a multiple of {self.expert_width_multiple}"
        return None


CPU_WNA16 = KernelRules(
    name="the engine's INT4 kernel for CPUs", group_sizes=None, multiple=32, expert_width_multiple=32
)
MARLIN = KernelRules(
    name="the engine's INT4 kernel for GPUs (Marlin)", group_sizes=(32, 64, 128), multiple=8, expert_width_multiple=128
)
