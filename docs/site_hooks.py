"""What mkdocs does with the pages: a mention of another page, `docs/int4.md`, becomes a link to it.

Pages are written to be read as they are, where such a mention is a path; on the site it is one click. A mention of a
page that does not exist fails the strict build, as a broken link does.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

_MENTION = re.compile(r"(?<![\w/`(\[])(?:`docs/([\w/]+\.md)`|docs/([\w/]+\.md))(?![\w`])")
_CODE = re.compile(r"^([ ]*```.*?^[ ]*```)", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """The page's Markdown with links; blocks of code stay as they are."""
    here = posixpath.dirname(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        target = found[1] or found[2]
        return f"[{target.removesuffix('.md')}]({posixpath.relpath(target, here or '.')})"

    parts = _CODE.split(markdown)
    return "".join(part if part.lstrip().startswith("```") else _MENTION.sub(link, part) for part in parts)
