"""Where another model is served that a run asks."""

from __future__ import annotations

from configs.base import Positive, Seconds, Section

__all__ = ["EndpointConfig"]


class EndpointConfig(Section):
    """An OpenAI-compatible endpoint."""

    base_url: str = ""
    """Address up to and without `/chat/completions`."""
    model: str = ""
    """Name of the model at the server."""
    key_env: str = ""
    """Name of the environment variable that holds the key. Empty: no key is sent."""
    try_seconds: Seconds = 60.0
    """Longest that one try may take."""
    num_tries: Positive = 3
    """Tries per call where the server is busy or out of reach."""
