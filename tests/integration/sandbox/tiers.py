"""Which tiers of the sandbox work on this machine, found once by opening each of them."""

from __future__ import annotations

import functools

from gyms.sandbox import SandboxError, open_sandbox

__all__ = ["TIERS", "refusal", "working_tiers"]

TIERS = ("zygote", "bwrap", "landlock")


@functools.cache
def refusal(tier: str) -> str | None:
    """Why a tier does not work here; None if it does."""
    try:
        open_sandbox(tier).close()  # type: ignore[arg-type]
    except SandboxError as error:
        return str(error)
    return None


@functools.cache
def working_tiers() -> tuple[str, ...]:
    return tuple(tier for tier in TIERS if refusal(tier) is None)
