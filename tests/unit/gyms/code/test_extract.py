"""The program of a response: one fixed rule, for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyms.code.extract import Extracted, extract
from tests.growth import grows_linearly


def fence(code: str, language: str = "python", mark: str = "```") -> str:
    return f"{mark}{language}\n{code}\n{mark}\n"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (fence("a = 1"), "a = 1"),
        (f"First\n{fence('a = 1')}, then\n{fence('b = 2')}and prose", "b = 2"),
        (fence("a = 1", ""), "a = 1"),
        (fence("a = 1", "Python"), "a = 1"),
        (fence("a = 1", "py title=x"), "a = 1"),
        (fence("a = 1", mark="~~~"), "a = 1"),
        (fence("a = 1", mark="````"), "a = 1"),
        ("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''"),
        (fence("a = 1") + fence("ls", "bash"), "a = 1"),
        (fence("a = 1") + "```python\nb = 2", "a = 1"),
        ("```python\r\na = 1\r\n```\r\n", "a = 1\r"),
        ("In a line: ```python\na = 1\n```\nprose\n```python\nb = 2\n```", "b = 2"),
        ("   ```python\na = 1\n   ```", "a = 1"),
        ("\ufeff```python\na = '\u200b'\n\u200b```", "a = '\u200b'"),
        ("Here:\n\u200b ```python\na = 1\n ```", "a = 1"),
        (fence("a = 1") + fence("b = 2", ""), "a = 1"),
        (fence("out", "") + fence("a = 1") + fence("more", ""), "a = 1"),
        (fence("a = 1", "") + fence("b = 2", ""), "b = 2"),
        ("- Here:\n\n    ```python\n    if x:\n        y = 1\n    ```", "if x:\n    y = 1"),
        ("12. Here:\n\n\t```python\n\ta = 1\n\t```", "a = 1"),
        ("Here:\n\n        ```python\n        if x:\n            y = 1\n        ```\n", "if x:\n    y = 1"),
        ("Here:\n\n        ```\n        a = 1\n   ```\nDone.", "a = 1"),
        ("\t\t```py\n\t\ta = 1\n\t\t```", "a = 1"),
        ("1. a\n   - b\n      - c\n                ```python\n                a = 1\n                ```", "a = 1"),
        ("* a\n  * b\n    ```python\n    a = 1\n    ```\n", "a = 1"),
        ("   ```python\nleft = 1\n   ```", "left = 1"),
        (
            "```python\ndef f():\n    '''\n    ```\n    f()\n    ```\n    '''\n```",
            "def f():\n    '''\n    ```\n    f()\n    ```\n    '''",
        ),
        (f"<think>{fence('bad = 1')}</think>{fence('good = 1')}", "good = 1"),
    ],
)
def test_the_last_complete_fence_of_the_language_is_the_program(response: str, code: str) -> None:
    assert extract(response, "python") == Extracted(code, has_fence=True)


@pytest.mark.parametrize(
    "response",
    [
        "",
        " \n\t",
        "```python\na = 1",
        fence("ls", "bash"),
        fence(""),
        f"<think>{fence('a = 1')}",
        f"<think>{fence('a = 1')}</think>",
        "```python\na = 1\n~~~",
        "````python\na = 1\n```",
    ],
)
def test_without_a_complete_fence_of_the_language_there_is_no_program(response: str) -> None:
    assert extract(response, "python") is None


def test_a_response_without_any_fence_is_taken_whole() -> None:
    assert extract("def f():\n    return 1", "python") == Extracted("def f():\n    return 1", has_fence=False)


@pytest.mark.parametrize("quotes", ["'''", '"""'])
@pytest.mark.parametrize("language", ["", "python"])
def test_a_fence_in_a_docstring_of_a_program_without_fences_is_text(quotes: str, language: str) -> None:
    code = f"def f():\n    {quotes}\n    ```{language}\n    f()\n    ```\n    {quotes}\n    return 1"
    assert extract(code, "python") == Extracted(code, has_fence=False)


def test_each_language_has_its_own_fences() -> None:
    both = fence("py", "python") + fence("cpp", "c++") + fence("js", "js")
    found = {language: extract(both, language) for language in ("python", "cpp", "javascript")}
    assert {name: each and each.code for name, each in found.items()} == {
        "python": "py",
        "cpp": "cpp",
        "javascript": "js",
    }


@pytest.mark.parametrize(
    ("language", "names"),
    [
        ("python", "python3 python3.11 python3.12.1 py3 python:main.py python,linenos python;x {.python python{1,2}"),
        ("cpp", "c++ c++17 c++20 c++2a c++0x cpp20 gnu++ gnu++17 C++23 cpp:main.cpp"),
        ("javascript", "js node:main.js javascript,linenos"),
    ],
)
def test_a_fence_may_name_a_version_a_file_and_options_behind_its_language(language: str, names: str) -> None:
    for name in names.split():
        assert extract(fence("x", name), language) == Extracted("x", has_fence=True), name
    for name in ("python2", "python2.7", "pytorch3", "text:python", "c", "c3", "json,python", "cpython3d"):
        assert extract(fence("x", name), language) is None, name


@given(st.text(alphabet="`~ \n\rpython<think>/{}", max_size=300))
def test_any_text_has_a_program_or_none(text: str) -> None:
    found = extract(text, "python")
    assert found is None or found.code.strip()


@pytest.mark.parametrize(
    "unit", ["```", "```\n", "`", "~~~python\n", "<think>", "</think>", " ", "\n", "```python\n```\n"]
)
def test_extraction_takes_linear_time(unit: str) -> None:
    assert grows_linearly(lambda text: extract(text, "python"), unit, size=50_000)
