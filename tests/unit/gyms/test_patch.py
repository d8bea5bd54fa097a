"""Unified diffs are read and applied exactly, or refused."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyms.swe.patch import apply, read_patch

LINES = st.lists(st.sampled_from(["a", "b", "", "-", "+x", "@@ -1 +1 @@", "\x0c", "\u2028"]), max_size=12)


@given(LINES, LINES)
def test_a_diff_of_two_texts_makes_one_of_the_other(old: list[str], new: list[str]) -> None:
    before, behind = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    diff = "".join(difflib.unified_diff([f"{x}\n" for x in old], [f"{x}\n" for x in new], "a/f.py", "b/f.py"))
    if before != behind:
        assert apply(read_patch(diff), {"f.py": before, "g.py": "1"}) == {"f.py": behind, "g.py": "1"}


def test_files_are_made_and_deleted() -> None:
    diff = (
        "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1,2 @@\n+one\n+two\n--- a/old.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n"
    )
    assert apply(read_patch(diff), {"old.py": "gone\n"}) == {"new.py": "one\ntwo\n"}


def test_a_last_line_without_its_end_is_kept_so() -> None:
    none = "\\ No newline at end of file"
    diff = f"--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n one\n-two\n{none}\n+three\n{none}\n"
    assert apply(read_patch(diff), {"f": "one\ntwo"}) == {"f": "one\nthree"}


@pytest.mark.parametrize(
    ("diff", "reason"),
    [
        ("", "changes no file"),
        ("--- a/f\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n", "renames"),
        ("--- a/f\n+++ b/f\n@@ -1,3 +1 @@\n-a\n", "cut off"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n*a\n", "no line of a hunk"),
        ("diff --git a/f b/f\nGIT binary patch\n", "not supported"),
    ],
)
def test_what_is_no_patch_is_refused(diff: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_patch(diff)


@pytest.mark.parametrize("files", [{"f": "x\n"}, {"f": ""}, {}, {"f": "y\na\n"}])
def test_a_patch_that_does_not_fit_is_refused(files: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        apply(read_patch("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"), files)
