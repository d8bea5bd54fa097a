"""Libraries that a plain `pip install k2rl` leaves out, and which of the project's extras brings each.

A gym's author needs pydantic, not torch; so what only some gyms or only a run needs are extras (`[project.
optional-dependencies]` of pyproject.toml), imported where they are used. Where one is missing, people read one line
that names the user, the library and the command, not a traceback. A test holds the table against pyproject.toml.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["ADAPTERS", "EXTRAS", "check_installed", "require"]

EXTRAS: Mapping[str, str] = {
    "torch": "train",
    "ray": "train",
    "transformers": "train",
    "accelerate": "train",
    "gguf": "train",
    "numpy": "train",
    "packaging": "train",
    "safetensors": "train",
    "tokenizers": "train",
    "wandb": "train",
    "tensorboardX": "train",
    "xxhash": "train",
    "plotly": "report",
    "datasets": "hub",
    "pyarrow": "hub",
    "httpx": "judge",
    "reasoning_gym": "logic",
    "sympy": "logic",
}
"""Import name -> the smallest extra that brings it; first those that say most of what is missing."""

ADAPTERS: Mapping[str, str] = {"mcp": "mcp", "openenv": "openenv"}
"""The same for what a single adapter needs, and no run without it."""

_MAX_NAMED = 3
_CHECKOUT = Path(__file__).parents[1] / "pyproject.toml"


def require(module: str, *, user: str) -> Any:
    """The module, imported; ValueError where its library is not installed.

    Args:
        module: of a library in `EXTRAS` or `ADAPTERS`.
        user: who needs it, as the beginning of a sentence, such as "source = 'openai/gsm8k'".
    """
    check_installed([module.partition(".")[0]], user=user)
    return importlib.import_module(module)


def check_installed(libraries: Iterable[str], *, user: str, extra: str = "") -> None:
    """ValueError with the command that installs them, where one of these libraries is missing; imports none.

    Args:
        libraries: keys of `EXTRAS` or `ADAPTERS`.
        extra: the extra to name, where `user` needs more than the smallest one with the first library.
    """
    lacking = [name for name in libraries if not _is_installed(name)]
    if not lacking:
        return
    extra = extra or {**EXTRAS, **ADAPTERS}[lacking[0]]
    command = f"pip install -e '.[{extra}]'" if _CHECKOUT.is_file() else f"pip install 'k2rl[{extra}]'"
    named = ", ".join(name.replace("_", "-") for name in lacking[:_MAX_NAMED])
    if len(lacking) > _MAX_NAMED:
        named += f" and {len(lacking) - _MAX_NAMED} more"
    note = "; with a CUDA device gpu in place of cpu" if extra == "cpu" else ""
    raise ValueError(f"{user} needs {named}, not installed here: {command}{note}")


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ValueError:  # a module that was put into sys.modules by hand, without a spec
        return True
