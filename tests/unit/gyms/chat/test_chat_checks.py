"""Checkable properties, on answers that have them and answers that only seem to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.chat.checks import CHECKS, has_content, num_words


@pytest.mark.parametrize(
    "text",
    ["", " \n\t", ":", ".", "...", "Solution", "solution:", "Thought process:", "\u89e3", "**Answer:**", "---", "_",
     "Let's solve this problem step by step.", "Let\u2019s think step by step:", "Sure!", "\U0001f600\U0001f600",
     "The answer is:", "Here is my answer:", "\u7b54\u6848\uff1a", "\u200b\u200b", "$", "#### ", "Sol\u200bution",
     "\u200b" * 400 + "Sure!"],
)  # fmt: skip
def test_openers_and_marks_have_no_content(text: str) -> None:
    assert not has_content(text)
    assert not any(check(text) for check in CHECKS.values())


@pytest.mark.parametrize("text", ["42", "Paris.", "\u5df4\u9ece", "Yes.", "No", "Solution: add salt.", "x = 3"])
def test_an_answer_has_content(text: str) -> None:
    assert has_content(text)


@pytest.mark.parametrize(
    "text",
    ["Great question! Paris.", "What a wonderful idea! So, first", "That's a really great question.",
     "Oh, what an insightful question", "Interesting question: it rains.", "I love this question. Rain",
     "You asked a great question", "Excellent! Paris is", "Thank you for asking. Paris", "**Great** question. Rain",
     "Wow, great question about cats. They", "What a great and deep question.", "You\u2019re so smart! Rain",
     "\"Good question,\" as they say.", "Kudos for wanting to learn!", "Gr\u200beat question! Paris."],
)  # fmt: skip
def test_opening_praise_is_found(text: str) -> None:
    assert not CHECKS["no_opening_praise"](text)


@pytest.mark.parametrize(
    "text",
    ["Good bread needs time.", "Great cities have parks.", "A good idea is to walk there.",
     "The good one is the red bike.", "Interesting books are rare.", "You should rest.", "It rains. Great question!",
     "Excellent, cheap and light bread is rare.", "The question is old.", "Important: unplug it first."],
)  # fmt: skip
def test_an_answer_about_good_things_is_no_praise(text: str) -> None:
    assert CHECKS["no_opening_praise"](text)


def test_self_justification_is_found_and_description_is_not() -> None:
    check = CHECKS["no_self_justification"]
    for text in (
        "Rain falls. This answer is short and complete.",
        "I made sure to keep it brief. Rain falls.",
        "As requested, here are two lines.",
        "This response fully addresses your question.",
        "It meets all the requirements.",
    ):
        assert not check(text), text
    for text in ("Rain falls from clouds.", "The answer lies in the clouds.", "You asked for rain; it comes."):
        assert check(text), text


def test_words_are_counted() -> None:
    assert num_words("It's a well-known fact, really.") == 6
    assert num_words("\u0939\u093f\u0928\u094d\u0926\u0940 \u0ba8\u0bbe\u0ba9\u0bcd") == 2
    for joint in "-_'/\u2019\u2014.":
        assert not CHECKS["under_15_words"](joint.join(["word"] * 500)), joint
    thirty = " ".join(["word"] * 30)
    assert not CHECKS["under_30_words"](thirty)
    assert CHECKS["under_30_words"](thirty[5:])


def test_form_is_checked() -> None:
    assert not CHECKS["no_list"]("Here:\n- one\n- two") and CHECKS["no_list"]("one - two")
    for emoji in ("\U0001f600", "\u2b50", "\U0001f1eb\U0001f1f7", "1\ufe0f\u20e3", "\u00a9\ufe0f"):
        assert not CHECKS["no_emoji"](f"fine {emoji}"), emoji
    assert CHECKS["no_emoji"]("fine\ufe0f \u00a9 1 \u2192 2")
    for mark in "!\uff01\u203c\u2757":
        assert not CHECKS["no_exclamation"](f"Paris{mark}"), mark
    for mark in "?\uff1f\u061f\u2048":
        assert not CHECKS["no_question_back"](f"Paris{mark}"), mark
    assert not CHECKS["one_paragraph"]("a\n\nb") and CHECKS["one_paragraph"]("a\nb\n\n")
    assert not CHECKS["one_sentence"]("One. Two.") and CHECKS["one_sentence"]("Pi is 3.14 or so.")
    assert not CHECKS["no_meta_talk"]("As an AI, I think so.") and CHECKS["no_meta_talk"]("I think so.")


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_can_be_checked(text: str) -> None:
    assert all(check(text) in (True, False) for check in CHECKS.values())


def test_long_texts_are_checked_in_linear_time() -> None:
    for piece in ("a", " ", "\n", "great ", "this answer ", "- \n", "I met all your ", "let's solve "):
        text = piece * (99_000 // len(piece))
        assert all(check(text) in (True, False) for check in CHECKS.values())
    assert not CHECKS["no_emoji"]("a" * 100_001)
