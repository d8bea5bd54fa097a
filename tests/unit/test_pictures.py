"""The pictures of the pages are what docs/pictures.py draws of the code as it is."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree

import pytest

from tests.page_commands import ROOT

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def pictures():
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["int4.svg", "colocation.svg"])
def test_a_picture_is_todays_and_is_shown_on_a_page(pictures, name: str) -> None:
    stored = (ROOT / "docs" / "images" / name).read_text()
    assert stored == pictures.PICTURES[name](), "run: python docs/pictures.py"
    ElementTree.fromstring(stored)
    assert f"(images/{name})" in "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))


def test_the_memory_picture_shows_the_rows_of_the_pages_table(pictures) -> None:
    total = sum(size for _, size, _, _ in pictures.PARTS)
    assert total == pytest.approx(4 + 8 + 2 + 0.56 + 4 + 0.56 + 0.56 + 2 * 0.56)
