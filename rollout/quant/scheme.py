"""Which modules are INT4, and how the checkpoint says so: compressed-tensors' `quantization_config`.

One frozen `QuantScheme` is read by the learner's QAT, the packer, the exporter and, through `config.json`, by the
engine. Everything but the group size and the list of exceptions is fixed: symmetric 4-bit integers in groups along the
input dimension, weights only, no activation order. `from_config` refuses anything else rather than approximating it.

The `ignore` list has compressed-tensors' own semantics, since the engine applies it too: an entry that starts with
`re:` is a regular expression matched from the beginning of a module's name (`re.match`: add `$` to pin the end), any
other entry is a module's full name. The engine matches it against its own linear layers, among them routers and gates
that transformers does not build from `nn.Linear`; that is why the default names them. The names are those of the
checkpoint, so one expert is `model.layers.0.mlp.experts.7.gate_proj`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DEFAULT_IGNORE", "NUM_BITS", "QuantScheme", "check_coverage"]

NUM_BITS = 4

DEFAULT_IGNORE = (
    "lm_head",
    r"re:.*\.lm_head$",
    r"re:.*embed.*",
    r"re:.*norm.*",
    r"re:.*\.gate$",  # the router of a mixture of experts; `gate_proj` does not end so
    r"re:.*shared_expert_gate$",  # one output row, never quantised by the engine
    r"re:.*router.*",
)
"""What stays bfloat16: output head, embeddings, norms and routers. A quantised router silently dies in training."""

_FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("q_a_proj", "kv_a_proj_with_mqa"))
"""Modules of a checkpoint that the engine holds in one layer each, where they share a parent."""


@dataclass(frozen=True, slots=True)
class QuantScheme:
    """INT4 by groups, and the modules left out of it.

    Example:
        QuantScheme(group_size=32, ignore=("lm_head", "re:.*self_attn.*"))
    """

    group_size: int = 32
    """Neighbouring weights of a row that share a scale; a positive multiple of 2."""
    ignore: tuple[str, ...] = DEFAULT_IGNORE
    """Module names, or `re:` and a regular expression, that stay bfloat16."""

    def __post_init__(self) -> None:
        if self.group_size < 2 or self.group_size % 2:
            raise ValueError(f"quant.group_size is {self.group_size}; want a positive even number, such as 32 or 128")
        if isinstance(self.ignore, str):
            raise ValueError(f"quant.ignore is the text {self.ignore!r}; want a list of module names and re: patterns")
        object.__setattr__(self, "ignore", tuple(self.ignore))
        for entry in self.ignore:
            try:
                re.compile(entry.removeprefix("re:") if entry.startswith("re:") else "")
            except re.error as error:
                raise ValueError(f"quant.ignore has {entry!r}, which is no regular expression: {error}") from error

    def is_ignored(self, module_name: str) -> bool:
        """Whether the module of this checkpoint name (no `.weight`) stays bfloat16."""
        return any(
            re.match(entry[3:], module_name) is not None if entry.startswith("re:") else entry == module_name
            for entry in self.ignore
        )

    def quantization_config(self) -> dict[str, Any]:
        """The `quantization_config` of `config.json`, as fresh plain data."""
        return {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "kv_cache_scheme": None,
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "input_activations": None,
                    "output_activations": None,
                    "weights": {
                        "num_bits": NUM_BITS,
                        "type": "int",
                        "symmetric": True,
                        "strategy": "group",
                        "group_size": self.group_size,
                        "dynamic": False,
                        "actorder": None,
                        "block_structure": None,
                        "observer": "minmax",
                        "observer_kwargs": {},
                    },
                }
            },
            "ignore": list(self.ignore),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> QuantScheme:
        """Read a `quantization_config` back.

        Args:
            config: The dictionary under that key in `config.json`.

        Raises:
            ValueError: it asks for something this pipeline does not compute; says what, and what is supported.
        """
        _require("quant_method", config.get("quant_method"), "compressed-tensors")
        _require("format", config.get("format"), "pack-quantized")
        _require("kv_cache_scheme", config.get("kv_cache_scheme"), None)
        groups = config.get("config_groups") or {}
        if len(groups) != 1:
            raise ValueError(f"quantization_config.config_groups has the groups {sorted(groups)}; one is supported")
        ((name, group),) = groups.items()
        where = f"config_groups.{name}"
        _require(f"{where}.targets", group.get("targets"), ["Linear"])
        _require(f"{where}.format", group.get("format") or "pack-quantized", "pack-quantized")
        _require(f"{where}.input_activations", group.get("input_activations"), None)
        _require(f"{where}.output_activations", group.get("output_activations"), None)
        weights = group.get("weights") or {}
        wanted = {"num_bits": NUM_BITS, "type": "int", "symmetric": True, "strategy": "group", "actorder": None}
        for key, value in wanted.items():
            _require(f"{where}.weights.{key}", weights.get(key), value)
        _require(f"{where}.weights.dynamic", weights.get("dynamic") or False, False)
        group_size = weights.get("group_size")
        if not isinstance(group_size, int):
            raise ValueError(f"quantization_config.{where}.weights.group_size is {group_size!r}; want a number")
        return cls(group_size=group_size, ignore=tuple(config.get("ignore") or ()))


def check_coverage(scheme: QuantScheme, quantised_names: Collection[str], all_linear_names: Collection[str]) -> None:
    """Prove that quantised and not ignored are the same set: nothing missed, nothing quantised by mistake.

    And that no layer which the engine fuses is ignored in part: it would refuse to load, after minutes.

    Args:
        scheme: Has the `ignore` list.
        quantised_names: Checkpoint names (no `.weight`) of the modules that are quantised.
        all_linear_names: Checkpoint names of every linear module, each expert's among them.

    Raises:
        ValueError: names the modules on either side that break the rule.
    """
    quantised, linear = set(quantised_names), set(all_linear_names)
    targets = {name for name in linear if not scheme.is_ignored(name)}
    problems = [
        f"{len(names)} {what}: {', '.join(sorted(names)[:5])}{', ...' if len(names) > 5 else ''}"
        for what, names in (
            ("not ignored but not quantised", targets - quantised),
            ("ignored by quant.ignore but quantised", (quantised & linear) - targets),
            ("quantised but no linear module of the model", quantised - linear),
        )
        if names
    ]
    if problems:
        raise ValueError(f"the quantised modules are not those that quant.ignore leaves over: {'; '.join(problems)}")
    _refuse_split_layers(scheme, linear)


def _refuse_split_layers(scheme: QuantScheme, linear: Collection[str]) -> None:
    for name in sorted(linear):
        parent, _, last = name.rpartition(".")
        parts = next((fused for fused in _FUSED if last in fused), ())
        siblings = [part for part in parts if f"{parent}.{part}" in linear]
        ignored = [part for part in siblings if scheme.is_ignored(f"{parent}.{part}")]
        if 0 < len(ignored) < len(siblings):
            kept = [part for part in siblings if part not in ignored]
            raise ValueError(
                f"quant.ignore leaves out {', '.join(ignored)} of {parent} and not {', '.join(kept)}: the engine holds "
                f"{', '.join(siblings)} in one layer, so ignore all of them or none"
            )


def _require(key: str, given: object, wanted: object) -> None:
    if given != wanted or type(given) is not type(wanted):
        raise ValueError(
            f"quantization_config.{key} is {given!r}; only {wanted!r} is supported: symmetric 4-bit pack-quantized "
            "weights in groups, nothing else quantised"
        )
