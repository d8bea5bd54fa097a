"""A very small model over single characters with random weights: what runs the whole pipeline in minutes on a laptop.

It is a Llama, or with experts a Qwen3-MoE, and an ordinary Hugging Face folder, so nothing downstream knows that it is
small. A file of its own, written last, says what it was built from: a folder of another shape or seed, or half a one,
is built anew.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from configs.schema import TinyModelConfig
from rl.run_folder import write_atomically

__all__ = ["build_tiny_model"]

END = "<end>"
PAD = "<pad>"
MANIFEST_FILE = "built_from.json"


def build_tiny_model(folder: Path, shape: TinyModelConfig, *, context_length: int, seed: int) -> None:
    """Write the model and its tokenizer; the same arguments give the same weights. Does nothing if they are there.

    Args:
        folder: where to.
        shape: widths and alphabet.
        context_length: positions the model knows.
        seed: of the random weights.
    """
    wanted = {**shape.model_dump(mode="json"), "context_length": context_length, "seed": seed}
    manifest = folder / MANIFEST_FILE
    if manifest.is_file() and json.loads(manifest.read_text(encoding="utf-8")) == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    tokenizer = _tokenizer(shape.alphabet)
    common = {
        "vocab_size": -(-len(tokenizer) // 32) * 32,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_heads,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": context_length,
        "tie_word_embeddings": True,
        "initializer_range": shape.hidden_size
        ** -0.5,  # the usual 0.02 suits widths of 2000; at 128 attention starts flat
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if shape.num_experts:
        experts = {"num_experts": shape.num_experts, "num_experts_per_tok": shape.experts_per_token}
        width = {"head_dim": shape.hidden_size // shape.num_heads, "moe_intermediate_size": shape.intermediate_size}
        config = AutoConfig.for_model("qwen3_moe", **common, **experts, **width, norm_topk_prob=True)
    else:
        config = AutoConfig.for_model("llama", **common)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    model.bfloat16().save_pretrained(folder)
    write_atomically(manifest, json.dumps(wanted, indent=2) + "\n")


def _tokenizer(alphabet: str):
    """One token per character of the alphabet; the end token is number 0."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    characters = list(dict.fromkeys(alphabet))
    vocabulary = {END: 0, PAD: 1} | {c: i for i, c in enumerate(characters, start=2)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=PAD))
    tokenizer.pre_tokenizer = Split(Regex("[\\s\\S]"), behavior="isolated")
    tokenizer.decoder = Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
