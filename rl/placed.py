"""What a class becomes before an actor is made of it: one that is at home on any node.

Its process points descriptors 1 and 2 at a log before anything of the class runs, since vLLM and its children write to
descriptors, past Python; it reads and writes the folders that it is given wherever they are (rl/folders.py). The class
itself knows of neither.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl.actor_logs import redirect
from rl.folders import Folders

__all__ = ["placed"]


def placed(kind: type, *, log: Path | None) -> type:
    """`kind`, with two more arguments in front: what gives its process the driver's folders, and which GPUs it sees, or
    None, where Ray has seen to that.

    Args:
        kind: a learner or an engine.
        log: file of the driver's node into which all that the process prints goes; None: it stays with Ray.
    """

    class Placed(kind):
        def __init__(self, folders: Callable[[], Folders], visible: str | None, *args: Any) -> None:
            if visible is not None:
                os.environ["CUDA_VISIBLE_DEVICES"] = visible  # nothing has initialised CUDA yet
            self._folders, self._held = folders(), contextlib.ExitStack()
            if log is not None:
                redirect(log, self._folders, self._held)
            super().__init__(*(self._at_home(arg) for arg in args))

        def _at_home(self, arg: Any) -> Any:
            if not hasattr(arg, "model_folder"):  # settings, of a learner or an engine, have one
                return arg
            return replace(arg, model_folder=self._held.enter_context(self._folders.read(arg.model_folder)))

        def begin(self, settings: Any) -> None:
            super().begin(self._at_home(settings))

        def save(self, folder: Path) -> None:
            with self._folders.added_to(folder) as here:
                super().save(here)

        def load(self, folder: Path) -> None:
            with self._folders.read(folder) as here:
                super().load(here)

        def export(self, folder: Path) -> None:
            with self._folders.replaced(folder) as here:
                super().export(here)

    for name in ("begin", "save", "load", "export"):
        if not hasattr(kind, name):
            delattr(Placed, name)
    Placed.__name__, Placed.__qualname__, Placed.__doc__ = kind.__name__, kind.__qualname__, kind.__doc__
    return Placed
