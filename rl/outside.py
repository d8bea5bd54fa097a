"""Functions from outside the project, by `module:function` or by a name that an installed package offers.

A plug-in is foreign code, so loading it may raise anything; whatever it raises becomes a ValueError with the config
key.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

__all__ = ["from_outside"]


def from_outside(key: str, name: str, *, group: str, what: str) -> Any:
    """What the setting `key = name` stands for.

    Args:
        group: of entry points.
        what: what messages call it, with an article.

    Raises:
        ValueError: there is none, two packages offer it, or it cannot be imported.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise ValueError(f"{key} = {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    entries = list(entry_points(group=group, name=name))
    if len(entries) != 1:
        offers = " and ".join(f"{e.dist.name if e.dist else 'a package'} ({e.value})" for e in entries) or "no package"
        raise ValueError(
            f"{key} = {name!r}: {offers} offers {what} of that name in the entry-point group {group}; "
            "install one that does, or name it as module:function"
        )
    try:
        return entries[0].load()
    except Exception as error:
        raise ValueError(
            f"{key} = {name!r}: importing {entries[0].value} failed: {type(error).__name__}: {error}"
        ) from error
