"""From a model to the tensors of its INT4 checkpoint, and from those to a folder that `vllm serve` opens.

`packed_tensors` is the one way from weights to bytes: the wire to the engines and the export read the same iterator.
A quantised module becomes `.weight_packed` (int32), `.weight_scale` (bfloat16) and `.weight_shape` (int64, [out, in]);
every other parameter becomes bfloat16; persistent buffers keep their dtype, since some (a router's correction bias) are
fp32 in published checkpoints and nothing trains them.

The tensors come in the model's order, so those of a layer follow one another: the engine finishes a layer as soon as it
has the last of them, and keeps few waiting.

The learner trains fp32 masters apart from the model's own parameters, which hold what the forward pass used (already on
the grid). Either source gives the same bytes: `quantize` rounds a master to bfloat16 first, and is idempotent.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from rollout.folders import replace_folder
from rollout.quant.grid import MAX_CODE, Packed, check_finite, quantize_packed
from rollout.quant.scheme import QuantScheme
from rollout.quant.views import ParameterViews, plain_views

__all__ = ["has_finite_values", "in_order", "packed_tensors", "write_model_folder"]

_COPIED = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    *("*vocab*", "merges.txt", "dict.txt", "bpe.codes", "*tekken*.json"),
    *("byte_maps.json", "emoji.json", "normalizer.json", "word_*.json"),
    *("*.model", "*.spm", "*.tokenizer", "*.tiktoken"),  # SentencePiece's, under a dozen names, and others
    *("chat_template*", "additional_chat_templates/*.jinja"),
    "generation_config.json",
    "*.py",
)
"""What a served model needs beside its weights and `config.json`: patterns of paths."""


@torch.no_grad()
def packed_tensors(
    model: nn.Module,
    table: Sequence[ParameterViews],
    scheme: QuantScheme,
    *,
    master: Callable[[str], torch.Tensor] | None = None,
    packed: Mapping[str, Packed] | None = None,
) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of the INT4 checkpoint, one after another, in the model's order.

    Args:
        model: Says what there is, and holds the buffers.
        table: `quantized_views(model, scheme)`.
        scheme: Has the group size.
        master: Parameter name (of `model.named_parameters()`) -> the tensor to publish, of the parameter's shape and
            any floating dtype, such as its fp32 master. Without it, the parameters themselves.
        packed: Checkpoint name of a quantised module -> what `quantize_packed` made of it, where that is known already.

    Yields:
        (checkpoint name, tensor on the source's device). A tensor may share memory with its parameter or with `packed`:
        consume it before the next optimiser step.

    Raises:
        ValueError: a parameter has values that cannot be published; named by its checkpoint name.
    """
    quantised = {id(entry.parameter) for entry in table}
    for entry in in_order(model, table):
        is_parameter = isinstance(entry.parameter, nn.Parameter)
        source = master(entry.parameter_name) if master is not None and is_parameter else entry.parameter
        for name, tensor in entry.of(source.detach()):
            known = (packed or {}).get(name)
            if is_parameter and (known is None or not has_finite_values(known)):
                check_finite(name, tensor)
            if id(entry.parameter) in quantised:
                known = known or quantize_packed(tensor, scheme.group_size)
                yield f"{name}.weight_packed", known.words
                yield f"{name}.weight_scale", known.scale
                yield f"{name}.weight_shape", torch.tensor(tensor.shape, dtype=torch.int64)
            else:
                yield name, tensor.to(torch.bfloat16) if is_parameter else tensor


def in_order(model: nn.Module, table: Sequence[ParameterViews]) -> list[ParameterViews]:
    """`table` and every other tensor of the checkpoint, in the model's order."""
    position = {id(tensor): i for i, tensor in enumerate(model.state_dict(keep_vars=True).values())}
    return sorted((*table, *plain_views(model, table)), key=lambda entry: position[id(entry.parameter)])


def has_finite_values(packed: Packed) -> bool:
    """Whether every value is finite and below the largest bfloat16: the largest of a group is 7 times its scale."""
    largest = (packed.scale.to(torch.float32) * MAX_CODE).to(torch.bfloat16)
    return bool((largest < torch.finfo(torch.bfloat16).max).all())


def write_model_folder(
    folder: str | Path,
    tensors: Iterable[tuple[str, torch.Tensor]],
    scheme: QuantScheme | None,
    source_folder: str | Path,
) -> None:
    """Write a folder that an engine serves as it is; the same tensors give the same bytes.

    It is written beside its place and renamed into it, so a folder of this name is always whole. An older folder of the
    name is replaced.

    Args:
        folder: Where; its parent is made if missing.
        tensors: `packed_tensors(...)`.
        scheme: Goes into `config.json`; None: nothing of them is packed.
        source_folder: The bfloat16 model it came from: `config.json`, tokenizer, chat template, generation config.

    Raises:
        ValueError: `source_folder` has no `config.json`.
    """
    folder, source_folder = Path(folder), Path(source_folder)
    source_config = source_folder / "config.json"
    if not source_config.is_file():
        raise ValueError(f"{source_folder} has no config.json; want the folder of the model that was trained")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.partial"
    staging.mkdir()
    try:
        _copy_companions(source_folder, staging)
        config = _served_config(json.loads(source_config.read_text(encoding="utf-8")), scheme)
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (staging / "config.json").write_text(text, encoding="utf-8")
        owned = {name: tensor.cpu().contiguous() for name, tensor in tensors}
        save_file(owned, staging / "model.safetensors", metadata={"format": "pt"})
        replace_folder(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _served_config(config: dict, scheme: QuantScheme | None) -> dict:
    config = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
    packing = {} if scheme is None else {"quantization_config": scheme.quantization_config()}
    # transformers 5 writes `dtype` and reads both; readers of version 4 know `torch_dtype` alone.
    return config | {"dtype": "bfloat16", "torch_dtype": "bfloat16"} | packing


def _copy_companions(source: Path, target: Path) -> None:
    for path in sorted({path for pattern in _COPIED for path in source.glob(pattern)}):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)
