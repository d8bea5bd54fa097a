"""The eleven fixed tasks of IFBench: lists, tables and answers with one known shape.

Each id is the function that checks its rule as it reads; `..._upstream` before it is what the published checker does.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
from itertools import pairwise

from gyms.constraints import arguments as a
from gyms.constraints.constraint import Family
from gyms.constraints.text import lines_of, sentences, stripped, without_accents, word_tokens
from gyms.constraints.upstream_text import PUNCTUATION, split_sentences
from gyms.constraints.upstream_text import without_punctuation as without_ascii_punctuation
from gyms.constraints.wordlists import AFRICAN_COUNTRIES, EUROPEAN_CAPITALS

__all__ = ["IFBENCH_CUSTOM"]

IFBENCH_CUSTOM = Family("IFBench")
_MULTIPLES = [str(number) for number in range(14, 51, 7)]
_QUESTION = re.compile(r"^[^\S\n]*[*#]{0,4}[^\S\n]?Question\b[^\S\n]*\d{0,3}[.:)]?\*{0,2}", re.MULTILINE)
_QUESTION_UPSTREAM = re.compile(r"Question \d+[.|):;]?")
_OPTION = re.compile(r"\s*[*(]{0,2}([A-Ea-e])[.):]\*{0,2}\s*\S")
_OPTION_UPSTREAM = re.compile(r"[A-Ea-e][.|)]\s*\w+")
_CITY_HEADER = ["ID", "Country", "City", "Year", "Count"]
_PRODUCT_HEADER = ["ProductID", "Category", "Brand", "Price", "Stock"]
_STUDENT_HEADER = ["StudentID", "Subject", "Grade", "Semester", "Score"]
_QUOTED_FIELD = re.compile(r'"([^"\n]*)"')
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
NAPOLEON = (datetime.date(1769, 8, 15), datetime.date(1821, 5, 5))
_FENCE = re.compile(r"\A```[a-zA-Z]*[^\S\n]*\n|\n[^\S\n]*```\Z")


@IFBENCH_CUSTOM.id(
    "custom:multiples",
    "Count from 10 to 50 but only print multiples of 7.",
)
def multiples(text: str, _: a.NoArgs) -> bool:
    return re.findall(r"\d+", text) == _MULTIPLES


def mcq_count_length_upstream(text: str, _: a.NoArgs) -> bool:
    if not text.startswith("Question"):
        return False
    questions = [part.strip() for part in _QUESTION_UPSTREAM.split(text) if part.strip()]
    if len(questions) != 4:
        return False
    lengths = []
    for question in questions:
        lines = [line.strip() for line in question.split("\n")]
        is_option = [_OPTION_UPSTREAM.match(line) is not None for line in lines]
        if sum(is_option) != 5:
            return False
        lengths.append(len("".join(" " + line for line in lines[: is_option.index(True)]).strip()))
    return all(earlier < later for earlier, later in pairwise(lengths))


@IFBENCH_CUSTOM.id(
    "custom:mcq_count_length",
    "Generate 4 multiple choice questions with 5 options each about '20th century art history'. Each question "
    'should start with the label "Question". The questions should get progressively longer. Do not give an '
    "explanation.",
    published=mcq_count_length_upstream,
    differs="options are A to E once each, labels may be bold",
)
def mcq_count_length(text: str, _: a.NoArgs) -> bool:
    """Four questions, five options each (A to E in order), each question longer than the one before."""
    marks = list(_QUESTION.finditer(text))
    if len(marks) != 4 or text[: marks[0].start()].strip():
        return False
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    lengths: list[int] = []
    for mark, end in zip(marks, ends, strict=True):
        lines = lines_of(text[mark.end() : end])
        letters = [
            (place, found.group(1).upper()) for place, line in enumerate(lines) if (found := _OPTION.match(line))
        ]
        if [letter for _place, letter in letters] != list("ABCDE"):
            return False
        lengths.append(len(" ".join(" ".join(lines[: letters[0][0]]).split())))
    return lengths[0] > 0 and all(earlier < later for earlier, later in pairwise(lengths))


def reverse_newline_upstream(text: str, _: a.NoArgs) -> bool:
    lines = [line for line in (raw.strip(PUNCTUATION + " ") for raw in text.split("\n")) if line]
    start = next((place for place, line in enumerate(lines) if "Zimbabwe" in line), len(lines))
    names = [without_accents(line).encode("ascii", "ignore").decode() for line in lines[start:]]
    return len(names) >= 52 and names == sorted(names, reverse=True)


@IFBENCH_CUSTOM.id(
    "custom:reverse_newline",
    "List the countries of Africa in reverse alphabetical order, each on a new line.",
    published=reverse_newline_upstream,
    differs="every line must be a country of Africa, no country twice; upstream looks at the order only",
)
def reverse_newline(text: str, _: a.NoArgs) -> bool:
    names = [_country(line) for line in lines_of(text)]
    is_complete = len(names) >= 52 and len(set(names)) == len(names)
    return is_complete and set(names) <= AFRICAN_COUNTRIES and names == sorted(names, reverse=True)


def _country(line: str) -> str:
    line = re.sub(r"^\s*(?:[-*]|\d+[.)])\s+", "", line)
    letters = re.sub(r"[^a-z\s-]", "", without_accents(line.lower().replace("\u2019", "'")))
    return " ".join(letters.replace("-", " ").split())


def word_reverse_upstream(text: str, _: a.NoArgs) -> bool:
    backward = " ".join(without_ascii_punctuation(text.lower().strip()).split()[::-1])
    return "bald eagle" in backward and backward in split_sentences(backward)


@IFBENCH_CUSTOM.id(
    "custom:word_reverse",
    "What animal is the national symbol of the US? Respond to this query, but make your sentence in reverse order "
    "of what it should be, per word.",
    published=word_reverse_upstream,
    differs="'bald eagle' may not also stand there in normal order",
)
def word_reverse(text: str, _: a.NoArgs) -> bool:
    words = [word.lower() for word in word_tokens(text)]
    forward, backward = " ".join(words), " ".join(reversed(words))
    return "bald eagle" in backward and "bald eagle" not in forward


def character_reverse_upstream(text: str, _: a.NoArgs) -> bool:
    return "elgae dlab" in text.lower()


@IFBENCH_CUSTOM.id(
    "custom:character_reverse",
    "What animal is the national symbol of the US? Respond to this query, but make your sentence in reverse order "
    "of what it should be, per letter.",
    published=character_reverse_upstream,
    differs="'bald eagle' may not also stand there in normal order",
)
def character_reverse(text: str, _: a.NoArgs) -> bool:
    text = text.lower()
    return "elgae dlab" in text and "bald eagle" not in text


def sentence_alphabet_upstream(text: str, _: a.NoArgs) -> bool:
    found = split_sentences(text)
    firsts = [sentence.lower()[0] for sentence in found if sentence]
    return len(found) == 26 and firsts == list("abcdefghijklmnopqrstuvwxyz")


@IFBENCH_CUSTOM.id(
    "custom:sentence_alphabet",
    "Tell me a 26-sentence story where each sentence starts with the next letter of the alphabet.",
    published=sentence_alphabet_upstream,
    differs="a sentence may start with a quotation mark",
)
def sentence_alphabet(text: str, _: a.NoArgs) -> bool:
    firsts = [word_tokens(sentence)[:1] for sentence in sentences(text)]
    return [first[0].lower()[0] for first in firsts if first] == list("abcdefghijklmnopqrstuvwxyz") and all(firsts)


def european_capitals_sort_upstream(text: str, _: a.NoArgs) -> bool:
    plain = without_accents(text).encode("ascii", "ignore").decode()
    return [name.strip() for name in plain.split(",") if name.strip()] == _UPSTREAM_CAPITALS


@IFBENCH_CUSTOM.id(
    "custom:european_capitals_sort",
    "Give me the names of all capital cities of european countries whose latitude is higher than than 45 degrees? "
    "List the capital cities without country names, separated by commas, sorted by latitude, from highest to "
    "lowest.",
    published=european_capitals_sort_upstream,
    differs="Kyiv, which upstream forgets, may stand between Brussels and Prague",
)
def european_capitals_sort(text: str, _: a.NoArgs) -> bool:
    plain = without_accents(text).replace("Kiev", "Kyiv").strip().rstrip(".")
    names = [name.strip() for name in plain.split(",")]
    return names in (list(EUROPEAN_CAPITALS), _UPSTREAM_CAPITALS)


_UPSTREAM_CAPITALS = [name for name in EUROPEAN_CAPITALS if name != "Kyiv"]


def csv_city_upstream(text: str, _: a.NoArgs) -> bool:
    rows = _raw_rows(text, ",")
    return len(rows) == 8 and rows[0] == _CITY_HEADER and all(len(row) == 5 for row in rows)


@IFBENCH_CUSTOM.id(
    "custom:csv_city",
    'Generate CSV data: The column names are ["ID", "Country", "City", "Year", "Count"], the data should be comma '
    "delimited. Please generate 7 rows.",
    published=csv_city_upstream,
    differs="a code fence and spaces around fields are allowed, empty fields are not",
)
def csv_city(text: str, _: a.NoArgs) -> bool:
    rows = _rows(_unfenced(text), ",")
    return _is_table(rows, _CITY_HEADER, 7)


def _unfenced(text: str) -> str:
    return _FENCE.sub("", text.strip()).strip("\n")


def _rows(text: str, delimiter: str) -> list[list[str]]:
    return [[field.strip() for field in row] for row in _raw_rows(text, delimiter, skipinitialspace=True) if row]


def _raw_rows(text: str, delimiter: str, *, skipinitialspace: bool = False) -> list[list[str]]:
    """Rows as the csv module reads them; none where it refuses the text (a field over 128 kB, a bare NUL)."""
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=skipinitialspace))
    except csv.Error:
        return []


def _is_table(rows: list[list[str]], header: list[str], num_rows: int) -> bool:
    return len(rows) == num_rows + 1 and rows[0] == header and all(len(row) == 5 and all(row) for row in rows)


def csv_special_character_upstream(text: str, _: a.NoArgs) -> bool:
    if not _is_header(text, _PRODUCT_HEADER, r",[ \t]*"):
        return False
    rows = _raw_rows(text.replace('"', '"""'), ",")
    if len(rows) != 15:
        return False
    for row in rows[1:]:
        if len(row) != 5:
            return False
        if any(_is_special(field) for field in row):
            return True
    return False


@IFBENCH_CUSTOM.id(
    "custom:csv_special_character",
    'Generate CSV data: The column names are ["ProductID", "Category", "Brand", "Price", "Stock"], the data should '
    "be comma delimited. Please generate 14 rows. Add one field which contains a special character and enclose it "
    "in double quotes.",
    published=csv_special_character_upstream,
    differs="all rows are checked, upstream stops at the first special field; a quoted comma is special",
)
def csv_special_character(text: str, _: a.NoArgs) -> bool:
    text = _unfenced(text)
    body = text.split("\n")[1:]
    return _is_table(_rows(text, ","), _PRODUCT_HEADER, 14) and any(
        re.search(r"[^\w\s]", field) for line in body for field in _QUOTED_FIELD.findall(line)
    )


def _is_special(field: str) -> bool:
    """Starts with a quote and holds, before a later quote on the line, what is no letter, digit or space."""
    line = field.split("\n", 1)[0]
    end = line.rfind('"')
    return field.startswith('"') and end > 0 and re.search(r"[^\d\w\s]", line[1:end]) is not None


def _is_header(text: str, names: list[str], separator: str) -> bool:
    pattern = separator.join(f'(?:{name}|"{name}")' for name in names)
    return re.fullmatch(pattern, text.split("\n", 1)[0].strip()) is not None


def csv_quotes_upstream(text: str, _: a.NoArgs) -> bool:
    if not _is_header(text, _STUDENT_HEADER, r"\t *"):
        return False
    rows = _raw_rows(text.replace('"', '"""'), "\t")
    if len(rows) != 4 or any(len(row) != 5 for row in rows):
        return False
    fields = [field.strip() for row in rows for field in row]
    return all(field[:1] == '"' and field[-1:] == '"' for field in fields)


@IFBENCH_CUSTOM.id(
    "custom:csv_quotes",
    'Generate CSV data: The column names are ["StudentID", "Subject", "Grade", "Semester", "Score"], the data '
    "should be tab delimited. Please generate 3 rows and enclose each single field in double quotes.",
    published=csv_quotes_upstream,
    differs="a code fence is allowed, empty fields are not",
)
def csv_quotes(text: str, _: a.NoArgs) -> bool:
    rows = [line.strip().split("\t") for line in lines_of(_unfenced(text))]
    are_quoted = all(
        len(field.strip()) > 2 and field.strip()[0] == field.strip()[-1] == '"' for row in rows for field in row
    )
    return are_quoted and _is_table([[field.strip().strip('"') for field in row] for row in rows], _STUDENT_HEADER, 3)


def date_format_list_upstream(text: str, _: a.NoArgs) -> bool:
    for date in text.strip().split(","):
        if not _DATE.fullmatch(date.strip()):
            return False
        year, month, day = (int(part) for part in date.split("-"))
        longest = 29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31 if month in (1, 3, 5, 7, 8, 10, 12) else 99
        if not 1769 <= year <= 1821 or month > 12 or day > longest:
            return False
    return True


@IFBENCH_CUSTOM.id(
    "custom:date_format_list",
    "List the start dates of all the battles Napoleon fought separated by commas, use the following date format: "
    "YYYY-MM-DD. Do not provide an explanation.",
    published=date_format_list_upstream,
    differs="dates must exist and lie in Napoleon's life, upstream takes 1800-00-00",
)
def date_format_list(text: str, _: a.NoArgs) -> bool:
    return all(_is_date_of_napoleon(stripped(date)) for date in text.strip().rstrip(".").split(","))


def _is_date_of_napoleon(text: str) -> bool:
    if not _DATE.fullmatch(text) or not text.isascii():
        return False
    try:
        date = datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return NAPOLEON[0] <= date <= NAPOLEON[1]
