"""Rows of data from wherever they lie: the one reader of all gyms.

A file is told by its first bytes, not by its name: JSON lines, a JSON array, Parquet, and each of the first two packed
by gzip, bzip2, xz or Zstandard. CSV alone has no such bytes: it is told by `.csv` or `.tsv` in the name, and by not
beginning like JSON. Its values are texts, and empty ones are no value. Lines end at a newline and nowhere else: a JSON
string may hold U+2028. A byte-order mark and CRLF are taken. What is none of these is named in one line (a web page, a
pointer of Git LFS, a zip, UTF-16), and a broken row by file and line.

Hub names and folders go through `datasets`, Parquet and Zstandard through `pyarrow`, which comes with it; both are
imported when they are needed, so that scoring workers, which read no data, never pay for them.

Left out: types of CSV's values, which would have to be guessed; a text that is a number or JSON is read as one by those
who want one.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import logging
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar, cast

from gyms.extras import require

__all__ = ["Located", "Skipped", "make_all", "read_file", "read_source", "require_two_files"]

Located = tuple[str, Mapping[str, Any] | ValueError]
"""Where a row stands, for messages (`file:line` or `file[number]`), and the row, or why it cannot be read."""
Made = TypeVar("Made")

MAX_CSV_CHARS = 1 << 27
"""Longest value in a CSV file."""
MAX_TOLD = 3
"""Malformed rows that are told; the others are counted."""
_log = logging.getLogger(__name__)

_PACKED: Mapping[bytes, str] = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_PARQUET = b"PAR1"
_BOM = b"\xef\xbb\xbf"
_FOREIGN: Mapping[bytes, str] = {
    b"PK\x03\x04": "a zip archive; unpack it",
    b"ARROW1": "an Arrow file; give its folder as `source`, or save it as Parquet",
    b"\xff\xff\xff\xff": "an Arrow stream; give its folder as `source`, or save it as Parquet",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
    b"\x80": "a Python pickle, which is not read because reading it runs code; save it as JSON lines",
    b"SQLite format 3": "an SQLite database; export its rows as JSON lines",
    b"\x89HDF": "an HDF5 file; export its rows as JSON lines",
    b"version https://git-lfs": "a pointer of Git LFS, not the data; run `git lfs pull`",
    b"<!DOCTYPE": "a web page, not the data; download the file itself",
    b"<!doctype": "a web page, not the data; download the file itself",
    b"<html": "a web page, not the data; download the file itself",
}
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What the libraries raise where packed data is cut off or damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Malformed rows that were left out."""

    num_rows: int = 0
    reasons: tuple[str, ...] = ()
    """The first of them, each with its place."""

    def __add__(self, other: Skipped) -> Skipped:
        reasons = (*self.reasons, *other.reasons)[:MAX_TOLD]
        return Skipped(num_rows=self.num_rows + other.num_rows, reasons=reasons)

    def __str__(self) -> str:
        more = f" (and {self.num_rows - len(self.reasons)} more)" if self.num_rows > len(self.reasons) else ""
        return f"{self.num_rows} malformed rows: {'; '.join(self.reasons)}{more}"


def read_file(path: Path) -> Iterator[Located]:
    """The rows of a file; a ValueError in place of each that is broken.

    Raises:
        ValueError: in one line, where there is no such file, or it is as a whole not what can be read.

    Example:
        make_all(read_file(Path("train.jsonl")), lambda row, where: row["question"], skip_malformed=False)
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give one of its files, or the folder as `source`")
    if not path.is_file():
        raise ValueError(
            f"there is no file {path} (looked for {path.resolve()}); give a JSONL, JSON, Parquet or CSV file"
        )
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    with stream:
        head = stream.peek(16)
        if head.startswith(_PARQUET):
            yield from _parquet_rows(path)
            return
        packing = next((name for magic, name in _PACKED.items() if head.startswith(magic)), "")
        if not packing:
            yield from _text_rows(stream, path)
            return
        try:
            yield from _text_rows(_unpacked(path, packing), path)
        except _BROKEN as error:
            raise ValueError(f"{path}: its {packing} data is broken or cut off ({error}); get the file anew") from None


def read_source(source: str, config: str, split: str, *, instead: str) -> Iterator[Located]:
    """The rows of a split of a data set: a hub name, a folder, or a file that `read_file` reads.

    Args:
        instead: settings that name local files, for the message.
    """
    if Path(source).is_file():
        yield from read_file(Path(source))
        return
    for number, row in enumerate(_load_split(source, config, split, instead)):
        yield f"{source}/{split}[{number}]", row


def make_all(
    rows: Iterable[Located],
    make: Callable[[Mapping[str, Any], str], Made],
    *,
    skip_malformed: bool | None,
) -> tuple[list[Made], Skipped]:
    """What `make(row, where)` makes of each row; where it raises ValueError, or the row is one, the row is malformed.

    Malformed rows are an error that counts them and tells the first three, or with `skip_malformed` they are left out,
    and that is logged once. None: the first one is an error, from whoever has no such setting.
    """
    made: list[Made] = []
    reasons: list[str] = []
    num_malformed = 0
    for where, row in rows:
        try:
            if isinstance(row, ValueError):
                raise row
            made.append(make(row, where))
        except ValueError as error:
            if skip_malformed is None:
                raise
            num_malformed += 1
            if len(reasons) < MAX_TOLD:
                reasons.append(" ".join(str(error).split())[:300])
    skipped = Skipped(num_rows=num_malformed, reasons=tuple(reasons))
    if num_malformed and not skip_malformed:
        told = reasons[0] if num_malformed == 1 else skipped
        raise ValueError(f"{told}. Mend the data, or set skip_malformed = true to leave out such rows")
    if num_malformed and not made:
        raise ValueError(f"skip_malformed leaves nothing: all rows are malformed, {skipped}")
    if num_malformed:
        _log.warning("skip_malformed left out %s", skipped)
    return made, skipped


def require_two_files(train: Path | None, heldout: Path | None, *, split: str) -> None:
    """ValueError where both splits are one file; `split` is the setting that splits a single file.

    Tells the same file under two names, and one that is not there yet by its path.
    """
    if train is None or heldout is None:
        return
    is_same = train.resolve() == heldout.resolve() or (train.exists() and heldout.exists() and train.samefile(heldout))
    if is_same:
        raise ValueError(
            f"train_file and heldout_file are the same file, {train}: every held-out problem would be trained on. Give "
            f"another heldout_file, or leave it out and set {split} = 0.1 to hold out that share of train_file"
        )


def _unpacked(path: Path, packing: str) -> BufferedReader:
    if packing == "zstd":
        pyarrow = require("pyarrow", user=f"{path}: Zstandard")
        return BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd"))
    opened: Any = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}[packing](path, "rb")
    return BufferedReader(opened)


def _text_rows(stream: BufferedReader, path: Path) -> Iterator[Located]:
    """JSON lines or a JSON array, whichever it is."""
    head = stream.peek(64)[:64].removeprefix(_BOM).lstrip()
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise ValueError(f"{path} is {name}")
    if b"\0" in head:
        raise ValueError(f"{path} is binary data of no known kind (it begins with {head[:16]!r}), not JSON or Parquet")
    if head.startswith(b"["):
        yield from _array_rows(stream.read(), path)
        return
    if {".csv", ".tsv"} & set(map(str.lower, path.suffixes)) and not head.startswith(b"{"):
        yield from _csv_rows(stream, path)
        return
    for number, line in enumerate(stream, start=1):
        plain = line.removeprefix(_BOM).strip()
        if number == 1 and plain in (b"{", b'{"'):
            raise ValueError(f"{path} is one JSON object over several lines; give one a line, or a JSON array of them")
        if plain:
            yield f"{path}:{number}", _line(plain, f"{path}:{number}")


def _line(line: bytes, where: str) -> Mapping[str, Any] | ValueError:
    try:
        row = _json(line)
    except ValueError as error:
        return ValueError(f"{where}: not a line of JSON ({error}); got {_start(line)}")
    return row if isinstance(row, Mapping) else ValueError(f"{where}: expected a JSON object, got {_start(line)}")


def _array_rows(data: bytes, path: Path) -> Iterator[Located]:
    try:
        rows = _json(data.removeprefix(_BOM))
    except ValueError as error:
        raise ValueError(f"{path}: it begins like a JSON array, but is none ({error})") from None
    for number, row in enumerate(rows):
        where = f"{path}[{number}]"
        is_row = isinstance(row, Mapping)
        yield where, row if is_row else ValueError(f"{where}: expected a JSON object, got {row!r:.60}")


def _csv_rows(stream: BufferedReader, path: Path) -> Iterator[Located]:
    """Rows of a table with a header; what parts its values is told by the header."""
    csv.field_size_limit(MAX_CSV_CHARS)
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        first = lines.readline()
        delimiter = max(",;\t", key=first.count)
        names = next(csv.reader([first], delimiter=delimiter, strict=True), [])
        if len(set(names)) < len(names) or not all(names):
            raise ValueError(f"{path}: the first line of a CSV file must name its columns, got {first[:60]!r}")
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        for fields in reader:
            where = f"{path}:{reader.line_num + 1}"
            if len(fields) == len(names):
                yield where, {name: field or None for name, field in zip(names, fields, strict=True)}
            elif fields:
                yield where, ValueError(f"{where}: {len(fields)} values, and the header names {len(names)} columns")
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not CSV in UTF-8 from some line on ({error})") from None
    finally:
        lines.detach()


def _json(data: bytes) -> Any:
    """ValueError also for nesting past the interpreter's limit, and for halves of surrogate pairs: no tokenizer takes
    them."""
    try:
        found = json.loads(data.decode("utf-8"))
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a surrogate pair") from None
    return found


def _parquet_rows(path: Path) -> Iterator[Located]:
    parquet = require("pyarrow.parquet", user=f"{path}: Parquet")
    number = 0
    try:
        for batch in parquet.ParquetFile(str(path)).iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                yield f"{path}[{number}]", row
                number += 1
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these
        raise ValueError(f"{path}: it begins like Parquet, but cannot be read ({error!s:.200})") from None


def _load_split(source: str, config: str, split: str, instead: str) -> Iterable[Mapping[str, Any]]:
    datasets = require("datasets", user=f"source = {source!r}")
    folder = Path(source)
    try:
        if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):  # made by save_to_disk
            saved = datasets.load_from_disk(source)
            return cast(
                "Iterable[Mapping[str, Any]]", saved[split] if (folder / "dataset_dict.json").is_file() else saved
            )
        return cast("Iterable[Mapping[str, Any]]", datasets.load_dataset(source, config or None, split=split))
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        told = " ".join(str(error).split())[:300]
        raise ValueError(
            f"data set source = {source!r}, config = {config!r}, split {split!r} cannot be loaded ({told}); check the "
            f"name and the network, or give local files as {instead}"
        ) from error


def _start(line: bytes) -> str:
    return repr(line[:60])
