"""One reader of rows: any container by its content, any fault in one line, one rule of what is held out."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import logging
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyms.heldout import is_heldout
from gyms.rows import make_all, read_file, read_source, require_two_files

ROWS = [
    {"question": "How many legs have two spiders?", "answer": "16"},
    {"question": "\u2028a\u2029b\x85c", "answer": "n"},
]
LINES = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)


def rows_of(path: Path) -> list[Any]:
    return make_all(read_file(path), lambda row, _: dict(row), skip_malformed=None)[0]


def zstd(data: bytes) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(ROWS), path)


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "lines": bytes,
    "a byte-order mark": lambda data: b"\xef\xbb\xbf" + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "no last newline": lambda data: data.rstrip(b"\n"),
    "empty lines": lambda data: b"\n\n" + data.replace(b"\n", b"\n \n"),
    "two files joined, each with a mark": lambda data: b"".join(
        b"\xef\xbb\xbf" + part for part in data.splitlines(True)
    ),
    "an array": lambda _: json.dumps(ROWS, indent=1).encode(),
    "an array behind a mark": lambda _: b"\xef\xbb\xbf\r\n " + json.dumps(ROWS).encode(),
    "gzip": gzip.compress,
    "gzip of an array": lambda _: gzip.compress(json.dumps(ROWS).encode()),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("file", ["rows.jsonl", "rows.json", "rows.data"])
def test_rows_are_read_by_content_whatever_the_name(tmp_path: Path, name: str, file: str) -> None:
    path = tmp_path / file
    path.write_bytes(CONTAINERS[name](LINES))
    assert rows_of(path) == ROWS


def test_parquet_is_read_under_any_name(tmp_path: Path) -> None:
    parquet(tmp_path / "rows.jsonl")
    assert rows_of(tmp_path / "rows.jsonl") == ROWS
    (where, _), _ = list(read_file(tmp_path / "rows.jsonl"))
    assert where.endswith("rows.jsonl[0]")


FOREIGN = {
    b"PK\x03\x04abc": "a zip archive; unpack it",
    b"\x80\x04\x95abc": "a Python pickle",
    b"\xff\xfe{\x00": "UTF-16 text; save it as UTF-8",
    b"version https://git-lfs.github.com/spec/v1\n": "git lfs pull",
    b"<!DOCTYPE html>\n<html>": "a web page",
    b"\x00\x01\x02\x03": "binary data of no known kind",
    b'{\n  "data": []\n}': "one JSON object over several lines",
    b"[1, 2": "begins like a JSON array, but is none",
    b"PAR1 and then nothing": "begins like Parquet, but cannot be read",
    gzip.compress(LINES, mtime=0)[:30]: "its gzip data is broken or cut off",
    lzma.compress(LINES)[:30]: "its xz data is broken or cut off",
}


@pytest.mark.parametrize("data", FOREIGN)
def test_what_is_no_rows_is_named_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        rows_of(path)
    told = str(caught.value)
    assert FOREIGN[data] in told and str(path) in told and "\n" not in told


BROKEN = {
    b"question,answer": "not a line of JSON",
    b'{"a": }': "not a line of JSON",
    b"[1, 2]": "expected a JSON object",
    b"3": "expected a JSON object",
    b'{"a": "\xff"}': "not a line of JSON",
    b'{"a": ' + b"9" * 5000 + b"}": "not a line of JSON",
    b"[" * 100_000: "nested too deeply",
    b'{"a": "\\ud800"}': "half of a surrogate pair",
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_broken_row_is_named_by_file_and_line_or_left_out(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES + b"\n" + line + b"\n" + LINES)
    with pytest.raises(ValueError) as caught:
        rows_of(path)
    told = str(caught.value)
    assert told.startswith(f"{path}:4: ") and BROKEN[line] in told and "\n" not in told and len(told) < 500
    made, skipped = make_all(read_file(path), lambda row, _: dict(row), skip_malformed=True)
    assert made == ROWS * 2
    assert skipped.num_rows == 1 and BROKEN[line] in skipped.reasons[0]


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_a_value_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "rows"
    path.write_bytes(data)
    try:
        rows_of(path)
    except ValueError as error:
        assert str(path) in str(error)


def test_missing_files_and_folders_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        rows_of(tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="is a folder; give one of its files, or the folder as `source`"):
        rows_of(tmp_path)


def test_left_out_rows_are_counted_and_the_first_three_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def make(row: Any, where: str) -> int:
        if row["n"] % 2:
            raise ValueError(f"{where}: {row['n']} is odd")
        return row["n"]

    rows = [(f"f:{n}", {"n": n}) for n in range(10)]
    with pytest.raises(
        ValueError, match=r"^5 malformed rows: f:1: .*\(and 2 more\)\. Mend .* set skip_malformed = true"
    ):
        make_all(rows, make, skip_malformed=False)
    with pytest.raises(ValueError, match=r"^f:1: 1 is odd\. Mend the data, or set skip_malformed = true"):
        make_all(rows[:3], make, skip_malformed=False)
    with pytest.raises(ValueError, match=r"^f:1: 1 is odd$"):
        make_all(rows, make, skip_malformed=None)
    with caplog.at_level(logging.WARNING):
        made, skipped = make_all(rows, make, skip_malformed=True)
    assert made == [0, 2, 4, 6, 8]
    assert str(skipped) == "5 malformed rows: f:1: 1 is odd; f:3: 3 is odd; f:5: 5 is odd (and 2 more)"
    assert [record.getMessage() for record in caplog.records] == [f"skip_malformed left out {skipped}"]
    with pytest.raises(ValueError, match="leaves nothing"):
        make_all(rows[1::2], make, skip_malformed=True)


def test_a_source_may_be_a_file_a_folder_or_a_saved_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    (tmp_path / "train.jsonl").write_bytes(LINES)
    saved = tmp_path / "saved"
    datasets.Dataset.from_list(ROWS).save_to_disk(str(saved))
    for source in (tmp_path / "train.jsonl", tmp_path, saved):
        found = [row for _, row in read_source(str(source), "", "train", instead="path")]
        assert found == ROWS, source
    with pytest.raises(ValueError, match=r"split 'dev' cannot be loaded.*or give local files as path"):
        list(read_source(str(tmp_path), "", "dev", instead="path"))


def test_one_file_cannot_be_train_and_heldout(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    (tmp_path / "hard.jsonl").hardlink_to(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_bytes(LINES)
    for other in ("a.jsonl", "link.jsonl", "hard.jsonl", "../" + tmp_path.name + "/a.jsonl"):
        with pytest.raises(ValueError, match=r"the same file.*heldout_fraction = 0\.1"):
            require_two_files(tmp_path / "a.jsonl", tmp_path / other, split="heldout_fraction")
    require_two_files(tmp_path / "a.jsonl", tmp_path / "b.jsonl", split="heldout_fraction")
    require_two_files(None, tmp_path / "b.jsonl", split="heldout_fraction")


def test_what_is_held_out_depends_on_the_problem_alone() -> None:
    texts = [f"What is {n} + {n}?" for n in range(2000)]
    held = [is_heldout(text, fraction=0.2) for text in texts]
    assert abs(sum(held) - 400) < 5 * (2000 * 0.2 * 0.8) ** 0.5  # five standard deviations
    assert [is_heldout(f"  what IS {n}+ {n}?\n", fraction=0.2) for n in range(2000)] == held
    assert [is_heldout(text, fraction=0.2, seed=1) for text in texts] != held
    assert all(is_heldout(t, fraction=0.3) for t, is_held in zip(texts, held, strict=True) if is_held)
    assert not any(is_heldout(text, fraction=0.0) for text in texts)
    assert all(is_heldout(text, fraction=1.0) for text in texts)
    assert is_heldout("\ud800", fraction=1.0)


def test_gyms_import_without_the_libraries_that_read_data() -> None:
    code = (
        "import sys\nsys.modules.update(dict.fromkeys(('datasets', 'pyarrow')))\n"
        "import gyms.gsm8k.gym, gyms.math.gym, gyms.code.gym, gyms.constraints.gym, gyms.chat\n"
        "from gyms.rows import read_source\n"
        "try: list(read_source('some/name', '', 'train', instead='path'))\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert "source = 'some/name' needs datasets, not installed here: pip install" in done.stdout, done
    assert "[hub]" in done.stdout, done


CSV_ROWS = [
    {"question": 'How many "legs",\nsay, has a cat?', "answer": "4", "note": None},
    {"question": "\u00fc", "answer": "0", "note": "x"},
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")])
def test_csv_is_told_by_its_name_and_read_as_texts(
    tmp_path: Path, delimiter: str, pack: Callable[[bytes], bytes]
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerows([CSV_ROWS[0], *(row.values() for row in CSV_ROWS)])
    file = tmp_path / "rows.CSV"
    file.write_bytes(pack(text.getvalue().encode()))
    assert [{k: v and v.replace("\r", "") for k, v in row.items()} for row in rows_of(file)] == CSV_ROWS


def test_a_broken_line_of_csv_is_named_and_a_broken_file_is_one_error(tmp_path: Path) -> None:
    file = tmp_path / "rows.tsv"
    file.write_text("a\tb\n1\t2\n\n3\t4\t5\n6\t7\n")
    (_, good), (where, bad), (_, last) = read_file(file)
    assert good == {"a": "1", "b": "2"} and last == {"a": "6", "b": "7"}
    assert where == f"{file}:4" and isinstance(bad, ValueError)
    assert str(bad) == f"{file}:4: 3 values, and the header names 2 columns"
    for data, fault in (
        (b'a,b\n1,"2\n', "not CSV"),
        (b"a,b\n\xff,2\n", "not CSV in UTF-8"),
        (b"a,a\n1,2\n", "name its col"),
    ):
        file.write_bytes(data)
        with pytest.raises(ValueError, match=fault):
            list(read_file(file))
    file.write_text('{"a": 1}\n')
    assert rows_of(file) == [{"a": 1}]  # first bytes win where there are any
