"""The page as one file: style, code, the plotting library and all data in it, and nothing that it would fetch.

Data lie in elements of type text/plain as gzip in base64, so that no text of a model is ever HTML. The page builds text
nodes from them. Should that fail one day, the content policy still runs no script but those that carry the page's
nonce, a digest of its content, and lets nothing out.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from string import Template

from rl.page.chunks import compressed, compressed_text
from rl.page.content import Content

__all__ = ["page_of"]

SCRIPTS = ("blobs.js", "charts.js", "samples.js", "cards.js", "page.js")
POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src {connect}; base-uri 'none'; form-action 'none'"
)


def page_of(content: Content, *, follow_seconds: float = 0.0, etag: str = "") -> str:
    """The page; the same text for the same content.

    Args:
        follow_seconds: how often a served page asks for a newer one; 0: it is a file and asks for nothing.
        etag: of a served page, with which it asks.
    """
    facts = dict(content.facts) | {"follow": follow_seconds, "etag": etag}
    facts["runs"] = [
        {
            **run,
            "parts": [len(part.rows) for part in stored.parts],
            "has_gap": any(part.has_gap for part in stored.parts),
        }
        for run, stored in zip(facts["runs"], content.samples, strict=True)
    ]
    blobs = "\n".join(_blob(name, body) for name, body in (("facts", compressed(facts)), *_data(content)))
    nonce = hashlib.sha256(blobs.encode()).hexdigest()[:32]
    return _template().substitute(
        title=html.escape(f"{content.title} - k2rl report"),
        heading=html.escape(content.title if len(content.samples) == 1 else f"{len(content.samples)} runs"),
        policy=POLICY.format(nonce=nonce, connect="'self'" if follow_seconds else "'none'"),
        nonce=nonce,
        style=_asset("page.css"),
        script="\n".join(_asset(name) for name in SCRIPTS),
        blobs=f"{_blob('plotly', _plotly())}\n{blobs}",
    )


def _data(content: Content) -> Iterator[tuple[str, str]]:
    for r, stored in enumerate(content.samples):
        yield f"index-{r}", compressed(stored.index)
        if stored.vocabulary:
            yield f"vocabulary-{r}", compressed(stored.vocabulary)
        for n, part in enumerate(stored.parts):
            yield f"texts-{r}-{n}", part.texts
            if part.tokens and stored.vocabulary:
                yield f"tokens-{r}-{n}", part.tokens


def _blob(name: str, body: str) -> str:
    return f'<script type="text/plain" id="{name}">{body}</script>'


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return compressed_text(get_plotlyjs())


@cache
def _template() -> Template:
    return Template(_asset("page.html"))


@cache
def _asset(name: str) -> str:
    return (files("rl.page") / "assets" / name).read_text(encoding="utf-8").rstrip()
