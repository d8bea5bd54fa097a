"""What stands behind a claim: another value makes it no answer, the same value or mere talk leaves it as it is."""

from __future__ import annotations

import pytest

from gyms.math.guesses import guess_behind
from gyms.math.verify import verify


@pytest.mark.parametrize(
    "guess",
    [
        ". I think it could be 18.", ". But it might be 18.", ". Then again, it might be 18.", ". If not, then 18.",
        ". Otherwise, 18.", ". Another possibility is 18.", ". It could well be 18.", ". Hmm, or 18?",
        ". I am not sure; it could be 18.", ". I'm not sure, maybe 18.", ". Well, maybe it is 18.",
        ". 18 is also possible.", ". However, 18 could be right too.", ". 18 is possible too.", "\nBut maybe 18.",
        ". The correct answer might be 18.", ". My second guess is 18.", ". Perhaps the real value is 18.",
        ". On second thought, maybe 18.", ". Possibly 18, possibly 19.", " apples. Or maybe 18.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("claim", ["The answer is 17", r"\boxed{17}", "<answer>17</answer>", "#### 17"])
def test_another_value_behind_words_of_doubt_makes_a_claim_no_answer(claim: str, guess: str) -> None:
    assert verify("17", claim).is_right
    assert not verify("17", claim + guess).is_right
    assert not verify("18", claim + guess).is_right


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("40", r"\boxed{40} hours, or 5 days."), ("104", r"\boxed{104} weeks, or 2 years."),
        ("90", r"\boxed{90} days, or 3 months."), ("12", r"\boxed{12} slices, or 2 pizzas."),
        ("18", r"\boxed{18} students, or 9 pairs."), ("18", r"\boxed{18} apples, or 6 each."),
    ],
)  # fmt: skip
def test_the_same_counted_in_other_things_is_no_guess(gold: str, response: str) -> None:
    assert verify(gold, response).is_right


def test_a_guess_with_the_claims_own_noun_or_a_unit_for_a_bare_claim_is_one() -> None:
    assert not verify("17", r"\boxed{17} dollars. Or maybe 18 dollars.").is_right
    assert not verify("1", r"\boxed{1} dollar. Or maybe 2 dollars.").is_right
    assert not verify("17", "The answer is 17. Or maybe 20 cm.").is_right


@pytest.mark.parametrize(
    "check",
    [
        " Wait, 17? No, 18.", "\n\nWait, 20? Let me recheck. 16-3-4=9 and 9*2=18. Yes, 18.", " No, 17? No. 18 it is.",
        " Hmm, wait, 14 dollars? No. She sells 9 eggs.", "\n\nWait, 9 eggs. At $2 each that is $18. Yes.",
        "\n\nWait, 16 eggs. Minus 7 is 9, times 2 is 18.", " Actually, 9 eggs. 9 times 2 is 18.",
        "\n\nWait, $x = 9$. Then $2x = 18$, which matches.", "\n\nActually, 9.\n\nThat is the number of eggs.",
        " Hold on, 9 is the number of eggs.",
    ],
)  # fmt: skip
@pytest.mark.parametrize("claim", ["The answer is 18.", r"\boxed{18}."])
def test_a_check_behind_a_claim_corrects_nothing(claim: str, check: str) -> None:
    assert verify("18", claim + check).is_right


@pytest.mark.parametrize(
    "correction",
    [
        " Wait, no: 18.",
        " Actually, 18",
        " Hold on. It is 18.",
        " Oops, 18!",
        " Correction: 18. I forgot one.",
        " Actually, 18 dollars.",
    ],
)
def test_a_correction_that_is_meant_or_has_the_last_word_counts(correction: str) -> None:
    for claim in ("The answer is 17.", "The answer is 17 dollars."):
        assert verify("18", claim + correction).is_right
        assert not verify("17", claim + correction).is_right


def test_prose_that_is_taken_back_is_no_change_of_mind() -> None:
    said = "The answer is the sum of both. Wait, the answer is the number of eggs times 2. Wait, no. The answer is 18."
    assert verify("18", said).is_right


@pytest.mark.parametrize("again", ["$18", "18 dollars", "18"])
def test_a_box_that_replaced_another_may_be_said_again_in_words(again: str) -> None:
    said = rf"\boxed{{9}} Wait, no, those are the eggs. She makes \boxed{{18}}. The final answer is {again}."
    assert verify("18", said).is_right
    assert not verify("9", said).is_right


def test_boxes_that_maybe_joins_are_a_list() -> None:
    assert not verify("18", r"\boxed{17} or maybe \boxed{18}").is_right
    assert verify("17, 18", r"\boxed{17} or maybe \boxed{18}").is_right


@pytest.mark.parametrize(
    "talk",
    [
        ". It could be 17 only if x were odd.", ". It could not be 17.", ". It might seem to be 17, but it is not.",
        ". Perhaps 17 looked right at first.", ". Another way to see it: 9 + 9 = 18.", ". 17 is not possible.",
        ". Another possible approach would be to count pairs.", ". Alternatively, 6 * 3 gives the same.",
        ". If not for the broken ones, there would be 20.", ". Otherwise, Anna would have 20.", ". No doubt.",
        ". It may be helpful to note that 18 = 2 * 9.", ". But 17 is prime.", ". And 17 is not possible.",
        ". Actually, 17 was the number of boys.", ". No 17 was needed.", ". Wait, 18? Yes.", ". Actually 18.",
        ". Another guess would be 17, but it fails.", ". But note that 6 is also a divisor.",
        ". Wait, 9000-2700=6300", ". Otherwise, 644+865=1509 times", ". No, 9x=360",
    ],
)  # fmt: skip
@pytest.mark.parametrize("claim", ["The answer is 18", r"\boxed{18}", "<answer>18</answer>"])
def test_talk_of_other_values_leaves_a_claim(claim: str, talk: str) -> None:
    assert verify("18", claim + talk).is_right


@pytest.mark.parametrize(
    ("gold", "claim"),
    [
        ("18", "18, or 3 times 6"), ("18", "18, or 36/2"), ("18", "18 (or 36/2)"), ("18", "18, or eighteen"),
        ("18", "18 (that is, eighteen)"), ("18", "18, that is, 3 times 6"), ("1/2", "1/2, i.e. 50%"),
        ("1/2", "one half, or 0.5"), ("24", "24, or two dozen"), ("1/3", "1/3, or approximately 0.33"),
        ("2 hours", "2 hours (or 120 minutes)"), ("5 miles", "5 miles, or about 8.05 kilometers"),
        (r"(-\infty, 3]", r"(-\infty, 3], or x \le 3"), ("18", "18, not 17"), ("18", "18, and not 17"),
    ],
)  # fmt: skip
def test_a_claim_that_says_its_value_in_two_ways_is_an_answer(gold: str, claim: str) -> None:
    assert verify(gold, f"The answer is {claim}.").is_right


@pytest.mark.parametrize(
    "claim",
    ["18, or 17", "18, that is, 17", "18 (or 17)", "18, or 3 times 7", "18, or two dozen", "17, not 18"],
)
def test_a_claim_of_two_values_is_none(claim: str) -> None:
    assert not verify("18", f"The answer is {claim}.").is_right
    assert not verify("5 miles", "The answer is 5 miles, or about 8.15 kilometers.").is_right


@pytest.mark.parametrize(
    "response",
    [
        "The answer is 17. Wait, no: 18.", "The answer is 17. No wait, it is 18.", "The answer is 17. Correction: 18.",
        "The answer is 17. Actually, it is 18.", r"\boxed{17}. Oops, it should be 18.",
        "The answer is 17. Wait, no: the answer is 18.", "The answer is 17.\n\nWait, I missed one. The answer is 18.",
        r"\boxed{17}. Sorry, the answer is 18.", r"\boxed{17}. Wait, no: \boxed{18}.",
    ],
)  # fmt: skip
def test_a_correction_takes_back_the_claim_before_it(response: str) -> None:
    assert verify("18", response).is_right
    assert not verify("17", response).is_right
    assert not verify("18", response, finals="agree").is_right


@pytest.mark.parametrize(
    "response",
    [
        "The answer is 17. Wait, no: 18. Wait, no: 17.", r"\boxed{17}. Wait, no: 18. Actually, 17.",
        "The answer is 17. No, the answer is 18. No, the answer is 17.", "The answer is 17. The answer is 18.",
        "The answer is 17. Wait, no: 18. Or maybe 17.",
    ],
)  # fmt: skip
def test_two_corrections_or_a_change_without_a_word_of_it_are_hedging(response: str) -> None:
    assert not verify("17", response).is_right
    assert not verify("18", response).is_right


def test_corrections_without_end_are_read_without_recursion() -> None:
    assert guess_behind("17" + ". Wait, no: 18" * 20_000, 2) is not None
