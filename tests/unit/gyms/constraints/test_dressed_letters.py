"""Letters in fancy dress: a person reads them as the plain ones, a parser does not."""

from __future__ import annotations

from unicodedata import normalize

import pytest

from gyms.constraints.hacks import hack_flags
from gyms.constraints.item import read_item
from gyms.constraints.rule import Item
from gyms.constraints.text import prepared


def accepts(instruction_id: str, response: str, **kwargs: object) -> bool:
    item = read_item({"instruction_id_list": [instruction_id], "kwargs": [kwargs]})
    return item.instructions[0].accepts(response)


def row(first: int, letters: str) -> str:
    """Letters of an alphabet that begins at a code point."""
    return "".join(chr(first + ord(letter) - ord("a")) for letter in letters)


@pytest.mark.parametrize(
    "response",
    [
        row(0x249C, "cat"),
        row(0x1F150, "cat"),
        row(0x1F170, "cat"),
        row(0x1F170, "dab").replace("\U0001f173", "c") + "t a c\u1d43t",
        "\u1d9c\u1d43\u1d57",
        "\u1d04\u1d00\u1d1b",
        "\u217dat",
        "\uff43\uff41\uff54",
        "\U0001d41ca\U0001d42d",
    ],
)
def test_no_dress_hides_a_forbidden_word(response: str) -> None:
    assert not accepts("keywords:forbidden_words", f"A {response} sat.", forbidden_words=["cat"])


def test_letters_of_every_dress_are_read_as_plain_ones() -> None:
    assert prepared("\u2145\u2146\u2147\u2148\u2149") == "Ddeij"
    assert prepared("".join(map(chr, range(0x2170, 0x2174)))) == "iiiiiiiv"
    assert prepared("".join(map(chr, range(0x249C, 0x24B6)))) == "abcdefghijklmnopqrstuvwxyz"
    for first in (0x1F150, 0x1F170):
        assert prepared("".join(map(chr, range(first, first + 26)))) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert prepared("\u1d04\u1d00\u1d18\ua731 \u1d2c\u1d2e \u2090\u2071\u207f") == "caps AB ain"


UNSEEN = "\u00ad\u034f\u061c\u115f\u17b4\u180b\u180e\u200b\u200c\u200d\u200e\u2065\u206a\u3164\ufe00\ufe0f\uffa0\ufff0"
UNSEEN += "\U0001d173\U000e0041\U000e0101\U000e0fff"


@pytest.mark.parametrize("unseen", UNSEEN)
def test_what_nobody_sees_hides_no_forbidden_word(unseen: str) -> None:
    for word in ("cat", "\u24d2at", "\u043a\u043e\u0442", "\u0645\u06cc", "C++"):
        response = f"A {unseen.join(word)} sat."
        assert not accepts("keywords:forbidden_words", response, forbidden_words=[word]), word
        assert accepts("keywords:existence", response, keywords=[unseen.join(word)]), word
    squared = f"\U0001f172{unseen}\U0001f170{unseen}\U0001f183"
    assert prepared(squared) == "CAT"
    for response in (f"A c{unseen}at sat.", f"A \u043a{unseen}\u043e\u0442 sat."):
        assert "hidden_text" in hack_flags(Item(prompt="", instructions=()), response, ())


def test_what_joins_emoji_stays_and_what_other_scripts_use_is_not_hidden() -> None:
    for text in ("\u2764\ufe0f\u200d\U0001f525", "\U0001f469\U0001f3fd\u200d\U0001f680", "1\ufe0f\u20e3 \u00a9\ufe0f"):
        assert prepared(text) == text
    words = "\u0645\u06cc\u200c\u0631\u0648\u0645 \u0915\u094d\u200d\u0937 \u05d0\u200e \u8fbb\U000e0100 \u1820\u180b"
    for text in (words, "\u2764\ufe0f\u200d\U0001f525", "ok\u200e\n\u200f\u05d0"):
        assert "hidden_text" not in hack_flags(Item(prompt="", instructions=()), text, ())


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_a_letter_and_its_accent_are_one_however_they_are_written(form: str, asked: str) -> None:
    response = normalize(form, "One caf\u00e9 ol\u00e9.")
    word, letter = normalize(asked, "caf\u00e9"), normalize(asked, "\u00e9")
    assert not accepts("keywords:forbidden_words", response, forbidden_words=[word])
    assert accepts("keywords:existence", response, keywords=[word])
    for count, holds in ((2, True), (3, False)):
        args = {"letter": letter, "let_frequency": count, "let_relation": "at least"}
        assert accepts("keywords:letter_frequency", response, **args) is holds
    assert accepts("keywords:forbidden_words", response, forbidden_words=["cafe"])


def test_what_is_no_dressed_letter_stays() -> None:
    for text in ("Brand\u2122", "\U0001f170 \U0001f17f\ufe0f", "\u2139\ufe0f", "m\u00b2", "\U0001f1e8\U0001f1e6"):
        assert prepared(text) == text


def test_what_a_program_reads_is_not_undressed() -> None:
    good = '{"a": 12, "b": true, "\uff43": "\uff41"}'
    assert accepts("detectable_format:json_format", good)
    assert accepts("detectable_format:json_format", f"```json\r\n{good}\r\n```")
    for bad in ('{"a": \uff11\uff12}', '{"b": \uff54\uff52\uff55\uff45}', '{"b": tru\u0435}', '{"b": tr\u200bue}'):
        assert not accepts("detectable_format:json_format", bad), bad
    assert accepts("format:thesis", "<i>We agree.</i> So it is.")
    assert not accepts("format:thesis", "<\uff49>We agree.</\uff49> So it is.")
    assert not accepts("format:thesis", "<i>\u200b</i> So it is.")
    rows = "ID,Country,City,Year,Count\n" + "\n".join(f"{n},Peru,Lima,2000,{n}" for n in range(7))
    assert accepts("custom:csv_city", rows)
    assert not accepts("custom:csv_city", rows.replace("ID", "\uff29\uff24"))
    assert not accepts("custom:csv_city", rows.replace("Lima", "\u200b"))
