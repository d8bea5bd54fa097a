"""What looks like another answer and is the same, and the reverse: domains, extremes, letters, numbers in words."""

from __future__ import annotations

import pytest

from gyms.math.remarks import number_word, spelled
from gyms.math.verify import verify
from tests.unit.gyms.math.boxed import verdicts


def test_an_absolute_value_of_the_gold_answer_may_not_be_left_out_where_it_makes_the_value_real() -> None:
    assert verdicts(r"\ln|x|", [r"\frac12\ln x^2", r"\ln|-x|", r"\ln x", r"\ln(-x)"]) == {
        r"\frac12\ln x^2": True, r"\ln|-x|": True, r"\ln x": False, r"\ln(-x)": False,
    }  # fmt: skip
    assert verdicts(r"\sqrt{|x-8|}", [r"\sqrt{|8-x|}", r"\sqrt{8-x}", r"\sqrt{x-8}"]) == {
        r"\sqrt{|8-x|}": True, r"\sqrt{8-x}": False, r"\sqrt{x-8}": False,
    }  # fmt: skip


def test_an_antiderivative_keeps_its_absolute_value() -> None:
    assert verdicts(r"\ln|x| + C", [r"K + \ln|3x|", r"\ln x + C", r"\ln(-x) + C"]) == {
        r"K + \ln|3x|": True, r"\ln x + C": False, r"\ln(-x) + C": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\ln\left|\frac{x-1}{x+1}\right|", r"\ln|x-1|-\ln(x+1)"), (r"\ln|x^2-1|", r"\ln|x-1|+\ln(x+1)"),
        (r"\ln|x|", r"\ln x+\ln|1|"), (r"\ln|x|", r"\ln x+|0|"), (r"(-1)^n\ln|x|", r"(-1)^n\ln x"),
    ],
)  # fmt: skip
def test_an_absolute_value_may_not_be_left_out_in_part_nor_replaced_by_one_elsewhere(gold: str, answer: str) -> None:
    assert not verify(gold, rf"\boxed{{{answer}}}").is_right
    assert not verify(gold + " + C", rf"\boxed{{{answer} + C}}").is_right
    assert verify(gold, rf"\boxed{{{gold}}}").is_right


def test_an_even_power_of_an_odd_root_needs_no_absolute_value() -> None:
    given = ["x^{2/3}", r"\sqrt[3]{x^2}", "x^{1/3}"]
    assert list(verdicts("|x|^{2/3}", given).values()) == [True, True, False]
    assert verify("|x|^{4/3}", r"\boxed{x^{4/3}}").is_right
    assert not verify("3|x|^{1/3}", r"\boxed{3x^{1/3}}").is_right
    assert not verify("|x|^{3/2}", r"\boxed{x^{3/2}}").is_right


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\ln|x^2-1|", r"\ln|x-1|+\ln|x+1|"),
        (r"(-1)^n\ln|x|", r"\cos(n\pi)\ln|x|"),
        (r"\ln x^2", r"2\ln x"),
        (r"\ln x", r"\ln|x|"),
        (r"\ln|x^2+1|", r"\ln(x^2+1)"),
        ("|x|^2", "x^2"),
    ],
)
def test_expressions_that_agree_where_the_gold_answer_needs_it_are_the_same(gold: str, answer: str) -> None:
    assert verify(gold, rf"\boxed{{{answer}}}").is_right


def test_the_larger_and_the_smaller_of_expressions_have_values() -> None:
    given = [r"\frac{x+|x|}{2}", r"\max(0, x)", r"\max\{x, 0\}", "x", "|x|", r"\min(x, 0)", r"\max(x, 1)"]
    assert list(verdicts(r"\max(x, 0)", given).values()) == [True, True, True, False, False, False, False]
    given = [r"\frac{a+b-|a-b|}{2}", r"\min\{b, a\}", "a", r"\max(a, b)", r"\frac{a+b+|a-b|}{2}"]
    assert list(verdicts(r"\min(a, b)", given).values()) == [True, True, False, False, False]
    assert verdicts("4", [r"\max(3, 4)", r"\max\{3, 4\}"]) == {r"\max(3, 4)": False, r"\max\{3, 4\}": False}


def test_what_stands_below_an_extreme_is_no_argument_of_it() -> None:
    for gold, answer in (
        ("n+1", r"\max_n(n+1)"), ("x^2+1", r"\max_{x}(x^2+1)"), ("n", r"\min_{n}(n+5)"), ("x", r"\min_x x"),
        (r"\max(x,0)", r"\max_x(0)"), (r"\min_a|x-a|", r"\min(a,|x-a|)"),
    ):  # fmt: skip
        assert not verify(gold, rf"\boxed{{{answer}}}").is_right, (gold, answer)
    assert verify(r"\min_a|x-a|", r"\boxed{\min_{a} |x-a|}").is_right
    assert verify(r"\log_2 x", r"\boxed{\frac{\ln x}{\ln 2}}").is_right


def test_a_bare_run_of_letters_keeps_its_order_and_a_product_with_a_sign_has_none() -> None:
    for gold, answer in (("bac", "bca"), ("act", "cat"), ("god", "dog"), ("lm", "ml"), ("on", "no"), ("ab", "ba")):
        assert verdicts(gold, [answer, gold]) == {answer: False, gold: True}
    assert verdicts("ab", [r"b\cdot a", "b*a", r"a \cdot b"]) == {r"b\cdot a": True, "b*a": True, r"a \cdot b": True}
    assert verdicts("xyz", [r"z \cdot xy", "zxy", "xyy"]) == {r"z \cdot xy": True, "zxy": False, "xyy": False}


def test_short_runs_of_small_letters_and_of_capitals_are_different_names() -> None:
    for gold, answer in (("ab", "AB"), ("xyz", "XYZ"), ("AB", "ab"), ("ab", "k = AB"), ("ab", r"\text{AB}")):
        assert not verify(gold, rf"\boxed{{{answer}}}").is_right, (gold, answer)
    for gold, answer in (("Sun", "sun"), ("sun", "Sun"), ("yes", "YES"), ("no", "No"), ("AB", r"\text{AB}")):
        assert verify(gold, rf"\boxed{{{answer}}}").is_right, (gold, answer)


def test_a_number_may_be_said_in_words() -> None:
    said = ["thirty-four", r"\text{Thirty four}", "thirty", "thirty-fourth", r"\text{thirty, four}", "four thirty"]
    assert list(verdicts("34", said).values()) == [True, True, False, False, False, False]
    assert verify("7", "The answer is seven.").is_right
    for response in ("The answer is seven or eight.", "The answer is seventeen.", "It is one of seven, namely six."):
        assert not verify("7", response).is_right
    assert verdicts("-3", ["minus three", "three"]) == {"minus three": True, "three": False}


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("3", "three apples"), ("21", "twenty-one apples"), ("5", "five dollars"), ("700", "seven hundred miles"),
        (r"7 \text{ miles}", "seven miles"), ("100", "a hundred"), ("10^6", "one million"), ("144", "twelve dozen"),
        ("3/4", "three quarters"), ("2/3", "two thirds"), ("1/2", "half"), ("-1/5", "minus one fifth"),
        (r"\frac23 \text{ cups}", "two thirds cups"),
    ],
)  # fmt: skip
def test_number_words_may_have_a_unit_or_be_shares(gold: str, said: str) -> None:
    assert verify(gold, rf"\boxed{{{said}}}").is_right
    assert verify(gold, rf"\boxed{{\text{{{said}}}}}").is_right


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("20", "twenty-one apples"), ("7", "seven hundred miles"), ("5", "five sixths"), ("2", "two thirds"),
        (r"7 \text{ miles}", "seven kilometers"), ("3", "three apples and two pears"), ("6", "six or seven"),
        ("6", "six or so"), ("12", "twelve dozen"), ("1", "one million"), ("1", "a good guess"),
        ("4", "twenty-fifth"), ("30/4", "thirty fourth"), ("1/3", "one thirds"),
    ],
)  # fmt: skip
def test_words_behind_number_words_that_change_the_value_count(gold: str, said: str) -> None:
    assert not verify(gold, rf"\boxed{{{said}}}").is_right


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("zero", 0), ("nineteen", 19), ("two hundred and five", 205), ("six thousand and twelve", 6012),
        ("ninety-nine thousand nine hundred ninety-nine", 99_999), ("one twenty", None), ("six seven", None),
        ("twenty eleven", None), ("hundred", None), ("fifty-five five", None), ("five and six", None),
    ],
)  # fmt: skip
def test_number_words_are_read_as_english_puts_them_together(said: str, number: int | None) -> None:
    assert number_word(said) == number
    assert spelled(said) == number


def test_a_claim_that_goes_on_with_a_guess_is_no_answer() -> None:
    for response in ("Answer: 17! We are done.", "The answer is 17. Perhaps you wonder why."):
        assert verify("17", response).is_right
    for response in ("Answer: 17? maybe 18?", "The answer is 17. Or maybe 18.", "Answer: 17?? perhaps 18"):
        assert not verify("17", response).is_right


@pytest.mark.parametrize(
    "guess",
    [
        ".\nOr maybe 18.", ". Or eighteen.", ". Or maybe it is 18.", ". Or, perhaps, 18.", ". Or maybe **18**.",
        ". Or maybe x = 18.", ". Or \u221218.", ". Or .5", ". Alternatively, 18.", "? 18?", "\nOr maybe 18",
        ". Or maybe 18 apples.", ". Perhaps $x = 18$.", ". Or 18 or 19.", ". Maybe 18, maybe 19.",
        ".\n\nOr maybe 18.", ".\n \n\nOr eighteen.", ".\n\nIt could also be 18.",
    ],
)  # fmt: skip
def test_a_guess_of_another_value_behind_a_claim_makes_it_no_answer(guess: str) -> None:
    assert not verify("17", f"The answer is 17{guess}").is_right
    assert not verify("17", f"The answer is $17${guess}").is_right


@pytest.mark.parametrize(
    "mended",
    ["actually it is 18", "could be 18 too", "not 17 but 18", "it may be 18", "if that is wrong then 18"],
)
def test_words_behind_a_semicolon_that_doubt_the_claim_are_part_of_it(mended: str) -> None:
    assert verify("17", "The answer is 17; the others give 18.").is_right
    assert not verify("17", f"The answer is 17; {mended}.").is_right


@pytest.mark.parametrize("guess", [" or 18", ", maybe 18", ". Or maybe 18.", "\n\nOr 18?", "\n\n\nOr 18.", "\n(or 18)"])
@pytest.mark.parametrize("mark", [r"\boxed{17}", r"$\boxed{17}$", "<answer>17</answer>", "#### 17"])
def test_a_guess_of_another_value_behind_a_mark_makes_it_no_answer(mark: str, guess: str) -> None:
    assert verify("17", mark).is_right
    assert not verify("17", mark + guess).is_right
    assert not verify("18", mark + guess).is_right
    assert "#" in mark or verify("17", mark + guess.replace("18", "17.0")).is_right


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("x<2", r"\boxed{x<2}, or $x<3$."), (r"\pi", r"\boxed{\pi} or 3.24."), ("36", r"\boxed{36} or $6^3$."),
        (r"120\text{ minutes}", r"\boxed{120\text{ minutes}}, or 3 hours."), ("120", r"\boxed{120}, or 3 hours."),
        ("18", r"\boxed{18 \text{ cm}}, or 17 cm."), ("C", r"\boxed{C}; or D."),
        ("2", r"\boxed{2} or 2 million."), ("50", r"\boxed{50} or 50 dozen."),
    ],
)  # fmt: skip
def test_a_guess_in_another_form_or_unit_is_compared(gold: str, response: str) -> None:
    assert not verify(gold, response).is_right


def test_talk_behind_a_mark_leaves_it() -> None:
    assert verify("17", r"\boxed{17} or \approx").is_right
    for talk in (". Note: 18 is not prime.", "\n\nPerhaps there is a way in 3 lines.", ". Or, in words, seventeen."):
        assert verify("17", rf"\boxed{{17}}{talk}").is_right
    assert verify("17", "The answer is 17; the others give 18.").is_right
    assert verify("-2, 3", r"\boxed{-2} or 3").is_right
    assert verify(r"\pi", r"\boxed{\pi} or about 3.14.").is_right
    assert verify("2", r"\boxed{2 \text{ hours}} or 120 minutes.").is_right
    assert not verify("2", r"\boxed{2 \text{ hours}} or maybe 3 hours.").is_right
    assert not verify("A", r"\boxed{A} or B").is_right
    assert not verify("A", r"\boxed{\text{(A)}}. Or maybe (B).").is_right


def test_a_guess_in_words_behind_a_claim_in_words_makes_it_no_answer() -> None:
    assert not verify("7", "The answer is seven. Or maybe eight.").is_right


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("0.5", "The answer is 0.5. Or 1/2."), ("0.5", "The answer is 0.5. Or 50%."),
        ("1/2", r"The answer is $\frac12$. Or 50%."), ("17", "The answer is 17. Or 17.0."),
        ("17", "The answer is 17. Or maybe seventeen."),
        ("17", "The answer is 17. Perhaps $x=3$ looked right at first, but it fails."),
        ("17", "The answer is 17. Possibly $n$ could be larger, but no."), ("17", "The answer is 17. Or so I think."),
        ("[1,2]", r"\boxed{[1,2]} or $1\le x\le 2$."), ("[1,2]", r"The answer is $[1,2]$. Or $1 \le x \le 2$."),
        ("x<2", r"\boxed{x<2}, or $(-\infty, 2)$."), (r"\{1,2\}", r"\boxed{\{1,2\}}, or $x \in \{1,2\}$."),
        ("(1,2)", r"\boxed{(1,2)} or $x=1, y=2$."), ("y=2x+1", r"\boxed{y=2x+1}, or $2x - y + 1 = 0$."),
        ("1/3", r"\boxed{\frac13} or 0.33."), (r"\pi", r"\boxed{\pi} or 3.14."),
        (r"\pi", r"<answer>\pi</answer> or 3.14"),
        (r"2\sqrt{3}", r"\boxed{2\sqrt3} (or $\approx 3.46$)."), ("36", r"\boxed{36} or $6^2$."),
        ("18", "#### 18\n\nAlternatively, $3 \\cdot 6$."), ("18", "<answer>18</answer>\n\nAlternatively: $36/2$."),
        ("2.5", r"\boxed{2.5\text{ m}}, or $250\text{ cm}$."), ("1500", "#### 1500\nor 1.5 kg"),
        ("120", "#### 120 minutes\nOr maybe 2 hours."), ("B", r"\boxed{B} or (B)."), ("C", r"\boxed{C}; or 6."),
        (r"\text{no solution}", r"\boxed{\text{no solution}} or $\emptyset$."), ("24", r"\boxed{24} or 2 dozen."),
        ("1000000", r"\boxed{1000000} or 1 million."), ("1/2", r"\boxed{\frac12} or 50 percent."),
    ],
)  # fmt: skip
def test_the_same_value_or_talk_behind_a_claim_leaves_it(gold: str, response: str) -> None:
    assert verify(gold, response).is_right


def test_a_later_final_answer_in_words_takes_back_a_box() -> None:
    for box in ("7", "seven"):
        assert not verify("7", rf"\boxed{{{box}}}. The final answer is eight.").is_right
        assert verify("7", rf"\boxed{{{box}}}. The final answer is seven.").is_right
        assert verify("7", rf"\boxed{{{box}}}. The final answer is correct.").is_right


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("7", "five\nsix\nseven"), ("7", "six\n\nseven"), ("7", "Six. Seven."), ("7", "Six? Seven?"),
        ("7", "Either six or\nseven"), ("3", "Step\nthree"), ("1", "It is a tough\none"),
    ],
)  # fmt: skip
def test_a_number_in_words_that_only_ends_a_text_is_no_answer(gold: str, response: str) -> None:
    assert not verify(gold, response).is_right


@pytest.mark.parametrize("response", ["Seven.", "seven", "The total is seven.", "It is: seven", "So it is **seven**."])
def test_a_number_in_words_that_is_the_text_or_follows_a_lead_in_is_an_answer(response: str) -> None:
    assert verify("7", response).is_right
