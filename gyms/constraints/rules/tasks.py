"""Whole tasks with answers of a known shape: IFBench's lists, tables and reversals, and choices between options."""

from __future__ import annotations

import csv
import datetime
import io
import re
from typing import Annotated

from pydantic import AfterValidator

from gyms.constraints.arguments import Text
from gyms.constraints.marks import PUNCTUATION
from gyms.constraints.rule import Rules, at_least, exactly
from gyms.constraints.text import (
    increases,
    lines_of,
    low_words,
    sentences,
    stripped,
    without_accents,
)
from gyms.constraints.wordlists import AFRICAN_COUNTRIES, EUROPEAN_CAPITALS
from gyms.invisible import visible

RULES = Rules()
ifeval, ifbench = RULES.of("IFEval"), RULES.of("IFBench")
_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


@ifeval("detectable_format:constrained_response", needs="dot capital lower-case space", is_short=True)
def constrained_response(text: str) -> bool:
    """Answer with one of the following options: My answer is yes. / My answer is no. / My answer is maybe.
    Differs: exactly one of the options may be given, upstream passes a response that gives all of them."""
    return sum(answer in text for answer in _ANSWERS) == 1


def _has_options(options: str) -> str:
    if not any(map(str.isalnum, options)):
        raise ValueError("expected text that names an option")
    return options


@ifbench("format:options", folds=True, is_short=True)
def options(text: str, options: Annotated[Text, AfterValidator(_has_options)]) -> bool:
    """Answer with one of the following options: {options}. Do not give any explanation.
    Differs: 'or' separates as a word only (not in 'orange'); a) may be given as 'a)' or 'a'."""
    parts = re.split(r"/" if "/" in options else r",|\bor\b", options)
    given, *allowed = (" ".join(part.split()).strip(PUNCTUATION + " ").lower() for part in (text, *parts))
    return bool(given) and given in allowed


@ifbench("custom:multiples", folds=True, is_short=True)
def multiples(text: str) -> bool:
    """Count from 10 to 50 but only print multiples of 7."""
    return re.findall(r"\d+", text) == [str(number) for number in range(14, 51, 7)]


_QUESTION = re.compile(r"^[^\S\n]*[*#]{0,4}[^\S\n]?Question\b[^\S\n]*\d{0,3}[.:)]?\*{0,2}", re.MULTILINE)
_OPTION = re.compile(r"\s*[*(]{0,2}([A-Ea-e])[.):]\*{0,2}\s*\S")


@ifbench("custom:mcq_count_length", needs="space", forbids="json")
def mcq_count_length(text: str) -> bool:
    """Generate 4 multiple choice questions with 5 options each about '20th century art history'. Each question should
    start with the label "Question". The questions should get progressively longer. Do not give an explanation.
    Differs: options are A to E once each, labels may be bold."""
    marks = list(_QUESTION.finditer(text))
    if len(marks) != 4 or text[: marks[0].start()].strip():
        return False
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    lengths = [0]
    for mark, end in zip(marks, ends, strict=True):
        lines = lines_of(text[mark.end() : end])
        found = [(place, option[1].upper()) for place, line in enumerate(lines) if (option := _OPTION.match(line))]
        if [letter for _place, letter in found] != list("ABCDE"):
            return False
        lengths.append(len(" ".join(" ".join(lines[: found[0][0]]).split())))
    return increases(lengths)


@ifbench("custom:reverse_newline", needs="space")
def reverse_newline(text: str) -> bool:
    """List the countries of Africa in reverse alphabetical order, each on a new line.
    Differs: every line must be a country of Africa, no country twice; upstream looks at the order only."""
    names = [_country(line) for line in lines_of(text)]
    is_complete = len(names) >= 52 and len(set(names)) == len(names)
    return is_complete and set(names) <= AFRICAN_COUNTRIES and names == sorted(names, reverse=True)


def _country(line: str) -> str:
    line = re.sub(r"^\s*(?:[-*]|\d+[.)])\s+", "", line)
    letters = re.sub(r"[^a-z\s-]", "", without_accents(line.lower().replace("\u2019", "'")))
    return " ".join(letters.replace("-", " ").split())


@ifbench("custom:word_reverse", folds=True, is_short=True)
def word_reverse(text: str) -> bool:
    """What animal is the national symbol of the US? Respond to this query, but make your sentence in reverse order of
    what it should be, per word.
    Differs: 'bald eagle' may not also stand there in normal order."""
    words = low_words(text)
    return "bald eagle" in " ".join(reversed(words)) and "bald eagle" not in " ".join(words)


@ifbench("custom:character_reverse", needs="space", is_short=True)
def character_reverse(text: str) -> bool:
    """What animal is the national symbol of the US? Respond to this query, but make your sentence in reverse order of
    what it should be, per letter.
    Differs: 'bald eagle' may not also stand there in normal order."""
    return "elgae dlab" in text.lower() and "bald eagle" not in text.lower()


@ifbench("custom:sentence_alphabet", bounds=[exactly("sentences", 26), at_least("words", 26)])
def sentence_alphabet(text: str) -> bool:
    """Tell me a 26-sentence story where each sentence starts with the next letter of the alphabet.
    Differs: a sentence may start with a quotation mark."""
    return ["".join(low_words(sentence)[:1])[:1] for sentence in sentences(text)] == list("abcdefghijklmnopqrstuvwxyz")


@ifbench("custom:european_capitals_sort", needs="comma", forbids="json")
def european_capitals_sort(text: str) -> bool:
    """Give me the names of all capital cities of european countries whose latitude is higher than than 45 degrees? List
    the capital cities without country names, separated by commas, sorted by latitude, from highest to lowest.
    Differs: Kyiv, which upstream forgets, may stand between Brussels and Prague."""
    plain = without_accents(text).replace("Kiev", "Kyiv").strip().rstrip(".")
    names = [name.strip() for name in plain.split(",")]
    return names in (list(EUROPEAN_CAPITALS), [name for name in EUROPEAN_CAPITALS if name != "Kyiv"])


_FENCE = re.compile(r"\A```[a-zA-Z]*[^\S\n]*\n|\n[^\S\n]*```\Z")
_QUOTED_FIELD = re.compile(r'"([^"\n]*)"')


def _unfenced(text: str) -> str:
    return _FENCE.sub("", text.strip()).strip("\n")


def _rows(text: str) -> list[list[str]]:
    """Rows as the csv module reads them; none where it refuses the text (a field over 128 kB, a bare NUL)."""
    try:
        rows = csv.reader(io.StringIO(text), skipinitialspace=True)
        return [[visible(field).strip() for field in row] for row in rows if row]
    except csv.Error:
        return []


def _is_table(rows: list[list[str]], header: str, num_rows: int) -> bool:
    is_filled = all(len(row) == 5 and all(row) for row in rows)
    return len(rows) == num_rows + 1 and rows[0] == header.split() and is_filled


@ifbench("custom:csv_city", needs="comma capital lower-case space", forbids="json", is_parsed=True)
def csv_city(text: str) -> bool:
    """Generate CSV data: The column names are ["ID", "Country", "City", "Year", "Count"], the data should be comma
    delimited. Please generate 7 rows.
    Differs: a code fence and spaces around fields are allowed, empty fields are not."""
    return _is_table(_rows(_unfenced(text)), "ID Country City Year Count", 7)


@ifbench("custom:csv_special_character", needs="comma capital lower-case space", forbids="json", is_parsed=True)
def csv_special_character(text: str) -> bool:
    """Generate CSV data: The column names are ["ProductID", "Category", "Brand", "Price", "Stock"], the data should be
    comma delimited. Please generate 14 rows. Add one field which contains a special character and enclose it in double
    quotes.
    Differs: all rows are checked, upstream stops at the first special field; a quoted comma is special."""
    text = _unfenced(text)
    quoted = (field for line in text.split("\n")[1:] for field in _QUOTED_FIELD.findall(line))
    has_special = any(re.search(r"[^\w\s]", field) for field in quoted)
    return has_special and _is_table(_rows(text), "ProductID Category Brand Price Stock", 14)


@ifbench("custom:csv_quotes", needs="capital lower-case space", forbids="json", is_parsed=True)
def csv_quotes(text: str) -> bool:
    """Generate CSV data: The column names are ["StudentID", "Subject", "Grade", "Semester", "Score"], the data should
    be tab delimited. Please generate 3 rows and enclose each single field in double quotes.
    Differs: a code fence is allowed, empty fields are not."""
    rows = [[field.strip() for field in line.strip().split("\t")] for line in lines_of(_unfenced(text))]
    are_quoted = all(len(field) > 2 and field[0] == field[-1] == '"' for row in rows for field in row)
    bare = [[visible(field.strip('"')) for field in row] for row in rows]
    return are_quoted and _is_table(bare, "StudentID Subject Grade Semester Score", 3)


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
NAPOLEON = (datetime.date(1769, 8, 15), datetime.date(1821, 5, 5))
"""His first and his last day."""


@ifbench("custom:date_format_list", is_short=True)
def date_format_list(text: str) -> bool:
    """List the start dates of all the battles Napoleon fought separated by commas, use the following date format:
    YYYY-MM-DD. Do not provide an explanation.
    Differs: dates must exist and lie in Napoleon's life, upstream takes 1800-00-00."""
    return all(_is_date_of_napoleon(stripped(date)) for date in text.strip().rstrip(".").split(","))


def _is_date_of_napoleon(text: str) -> bool:
    try:
        return _DATE.fullmatch(text) is not None and NAPOLEON[0] <= datetime.date.fromisoformat(text) <= NAPOLEON[1]
    except ValueError:
        return False
