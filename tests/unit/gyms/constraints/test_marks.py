"""Which characters count as which mark: held against their names in Unicode, and seen in verdicts."""

from __future__ import annotations

import unicodedata

import pytest

from gyms.constraints import marks
from gyms.constraints.item import read_item
from gyms.constraints.text import sentences, tokens


def accepts(instruction_id: str, response: str, **kwargs: object) -> bool:
    item = read_item({"instruction_id_list": [instruction_id], "kwargs": [kwargs]})
    return item.instructions[0].accepts(response)


def named(name: str) -> set[str]:
    """The punctuation marks of the first plane whose name ends so, whatever script and width."""
    found = map(chr, range(0x10000))
    return {c for c in found if unicodedata.category(c).startswith("P") and unicodedata.name(c, "").endswith(name)}


def showing(sign: str) -> set[str]:
    """What Unicode takes for the sign, alone or beside something else, but for units of measure (a.m.)."""
    found = [chr(code) for code in range(0x20000) if unicodedata.category(chr(code)) in ("Po", "Pd", "No")]
    return {c for c in found if sign in unicodedata.normalize("NFKC", c)}


@pytest.mark.parametrize(
    ("sign", "name", "counted"),
    [
        (",", "COMMA", marks.COMMAS),
        (".", "FULL STOP", marks.DOTS),
        ("!", "EXCLAMATION MARK", marks.EXCLAMATIONS),
        ("-", "HYPHEN-MINUS", marks.HYPHENS),
    ],
)
def test_every_mark_that_unicode_names_so_is_counted(sign: str, name: str, counted: str) -> None:
    assert named(name) | showing(sign) <= set(counted)
    assert len(set(counted)) == len(counted)


def test_every_quotation_mark_is_one_of_single_or_double_quotes() -> None:
    double, single = set(marks.DOUBLE_QUOTES), set(marks.SINGLE_QUOTES)
    assert named("QUOTATION MARK") <= double | single and not double & single


@pytest.mark.parametrize("mark", list(",\uff0c\u060c\u3001\u1363\u07f8\ufe51\U0001f102"))
def test_no_comma_takes_none_of_any_script_and_width(mark: str) -> None:
    assert not accepts("punctuation:no_comma", f"one{mark} two")


@pytest.mark.parametrize("mark", list(".\u2026\u2025\u3002\u06d4\ufe52\u2488"))
def test_no_dot_takes_none_of_any_script_and_width(mark: str) -> None:
    assert not accepts("punctuation:punctuation_dot", f"one{mark} two")


@pytest.mark.parametrize("mark", list("!\u00a1\uff01\ufe57\u203c\u2757\u01c3"))
def test_no_exclamation_mark_comes_back_in_another_dress(mark: str) -> None:
    assert not accepts("punctuation:punctuation_exclamation", f"one{mark} two")


def test_what_only_borrows_the_name_or_is_another_mark_is_not_counted() -> None:
    assert accepts("punctuation:no_comma", "\u02bbokina \u201e\u201aja\u2018\u201c")
    assert accepts("punctuation:punctuation_dot", "a\u00b7b \u0964")
    assert accepts("punctuation:punctuation_exclamation", "what\u203d")


@pytest.mark.parametrize("quoted", ["\u201eJa.\u201c", "\u201eTak.\u201d", "\u00abOui.\u00bb", "\uff02All.\uff02"])
def test_double_quotation_marks_of_other_languages_wrap_a_response(quoted: str) -> None:
    assert accepts("startend:quotation", quoted)
    assert not accepts("startend:quotation", quoted[:-1])
    assert not accepts("startend:quotation", quoted[:-1] + "\u2018")


def test_quotes_within_quotes_may_be_of_any_language() -> None:
    assert accepts("format:quotes", "\u00abhe said \u2039she said \u00abno\u00bb\u203a\u00bb")
    assert accepts("format:quote_unquote", "\u201eJa\u201c means yes.")


def test_sentences_end_at_marks_of_any_script_and_width() -> None:
    assert len(sentences("Yes\u203c No\u2047 So\ufe52 It is\u1362 End")) == 5
    assert accepts("ratio:sentence_type", "\u0646\u0639\u0645. \u0644\u0627. \u0645\u0646\u061f")


def test_the_number_of_a_list_item_is_no_sentence() -> None:
    listed = "1. Eat food.\n 2) Sleep well. Dream.\n\n10. Run\n"
    assert sentences(listed) == ["1. Eat food.", "2) Sleep well.", "Dream.", "10. Run"]
    for end_of_line in ("It has 3. That is all.", "It was\n1990. That is all.", "The answer is\n7.\nThat is all."):
        assert len(sentences(end_of_line)) == 2


def test_a_hyphen_that_does_not_break_joins_as_a_plain_one() -> None:
    assert tokens("well\u2011known") == ["well\u2011known"]
    assert accepts("detectable_format:sentence_hyphens", "It rains.\u2011We stay.")


def test_a_word_is_found_behind_the_punctuation_of_any_language() -> None:
    assert accepts("first_word:first_word_answer", "\u201eHallo\u201c, sagte er.", first_word="Hallo")
    assert accepts("last_word:last_word_answer", "It is\u061f", last_word="is")


def test_a_vowel_sign_is_part_of_its_word() -> None:
    hindi, tamil = "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0ba8\u0bbe\u0ba9\u0bcd"
    assert tokens(f"{hindi} {tamil}") == [hindi, tamil]
    first = {"num_paragraphs": 1, "nth_paragraph": 1}
    for word in (hindi, tamil):
        response = f"{word} \u0915\u0930."
        assert accepts("length_constraints:nth_paragraph_first_word", response, first_word=word, **first)
        assert not accepts("length_constraints:nth_paragraph_first_word", response, first_word=word[0], **first)
    word = "\u0915\u0930"
    for response, holds in ((f"{word}\u0947\u0902", True), (f"\u0915\u093f{word}", True), (f"({word}\u0964", False)):
        assert accepts("keywords:forbidden_words", response, forbidden_words=[word]) is holds


def test_a_mark_hides_no_word_of_latin_letters_or_of_a_script_without_spaces() -> None:
    burmese = "\u1019\u103c\u1014\u103a\u1019\u102c"
    for before, word, after in (("", "cat", "\u0337"), ("", "caf\u00e9", "\u0337"), ("\u102d", burmese, "\u1000")):
        response = before + word + after
        assert not accepts("keywords:forbidden_words", response, forbidden_words=[word])


def test_emphasis_is_seen_in_a_text_without_spaces() -> None:
    chinese, korean = "\u6211\u60f3\u8bf4**\u91cd\u8981**\u7684\u4e8b", "**\uc911\uc694**\ud55c \uc77c"
    for response, holds in ((chinese, True), (korean, True), ("So 2*3*4, a*b*c.", False), ("So \\*\u91cd*", False)):
        assert accepts("detectable_format:number_highlighted_sections", response, num_highlights=1) is holds
