"""A folder that whoever looks sees whole or not at all.

Light: processes that hold no weights put folders in their places too.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["replace_folder"]


def replace_folder(staging: Path, folder: Path) -> None:
    """Put a finished folder in its place: at every moment `folder` is the old one, absent, or the new one."""
    for path in (path for path in staging.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if folder.exists():
        old = staging.with_suffix(".old")
        folder.rename(old)
        staging.rename(folder)
        shutil.rmtree(old)
    else:
        staging.rename(folder)
