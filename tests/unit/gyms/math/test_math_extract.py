"""Where the final answer stands: thinking, boxes, tags, hashes, phrases; and that finding it takes linear time."""

from __future__ import annotations

import pytest

from gyms.api import Status
from gyms.math.extract import extract
from gyms.math.tree import MAX_RESPONSE_CHARS
from gyms.math.verify import verify
from tests.growth import FACTOR, grows_linearly


@pytest.mark.parametrize(
    "response",
    [
        "42",
        "$42$",
        "The answer is 42.",
        "The final answer is $42$. I hope it is correct.",
        "**Answer:** 42",
        "Answer: 42",
        "#### 42",
        "so\n#### 42\n",
        "Therefore $x = 42$.",
        "It is \\boxed{42}",
        "\\boxed{42}.",
        "\\[ \\boxed{42} \\]",
        "\\boxed {42}",
        "\\boxed\n{42}",
        "# so\n### 42",
        "6*7 = 42",
        "\\boxed{\\boxed{42}}",
        "\\fbox{42}",
        "boxed{42}",
        "\\boxed 42",
        "\\boxed{42.}",
        "\\boxed{ 42 }",
        "\\boxed{\\text{42}}",
        "\\boxed{42} and so \\boxed{42.0}",
        "<think>\\boxed{41}</think> \\boxed{42}",
        "\\boxed{41}</think>\\boxed{42}",
        "<think>a</think>\\boxed{7}<think>b</think>\\boxed{42}",
        "<answer>42</answer>",
        "<answer>\\boxed{42}</answer>",
        "<think>no</think><answer> 42 </answer>",
        "```\n\\boxed{41}\n```\nso \\boxed{42}",
        "\\boxed{\\begin{aligned} 42 \\end{aligned}}"[:0] + "\\boxed{x = 42}",
        "Final Answer: The final answer is 42.",
        "The answer is $\\boxed{42}$.",
        "We get 40 + 2 = 42",
        "so there are 42 apples.",
        "\\boxed{42}\n\nI hope this helps!",
        "\u25c1think\u25b7x\u25c1/think\u25b7\\boxed{42}",
        "\\boxed{ \\left( 42 \\right) }",
        "## Step 1\nAdd.\n#### Step 2\nMore.\n#### 42",
    ],
)
def test_an_answer_is_found(response: str) -> None:
    assert verify("42", response).is_right


@pytest.mark.parametrize(
    "response",
    [
        "",
        " ",
        "\n",
        "\\boxed{42}\n\\boxed{}",
        "\\boxed{42} and \\boxed{ }",
        "\\boxed{42} then \\boxed{",
        "\\boxed{42} then \\boxed{42",
        "<think>\\boxed{42}",
        "<think>the answer is 42</think>",
        "<think>a</think><think>\\boxed{42}",
        "<answer>42",
        "<answer><answer>42</answer>",
        "<answer>42</answer></answer>",
        "```\n<answer>42</answer>\n```",
        "<answer></answer>",
        "\\boxed{42} or \\boxed{43}",
        "\\boxed{43} or \\boxed{42}",
        "\\boxed{42}, wait. \\boxed{43}",
        "#### 42\n#### 43",
        "#### 43\n#### 42",
        "\\boxed{43}\n#### 42",
        "\\boxed{42}. The final answer is 43.",
        "The final answer is 43. \\boxed{42}",
        "\\boxed{43}. The answer is 42.",
        "The answer is 42. The answer is 43.",
        "41 or 42",
        "It is 42 or 43.",
        "<answer>42</answer> <answer>43</answer>",
        "\\boxed{42, 43}",
        "The answer is 42 or 43",
        "#### 42 or 43",
        "####",
        "\\boxed{\\text{}}",
        "$",
        "$$",
        "\\boxed{$}",
        "\\boxed{the correct answer}",
        "The answer is \\boxed{?}",
        "1 2 3 41 42",
        "40, 41, 42",
        "42!",
        "#### 42\n####",
        "The answer isn't 42",
        "Not 42",
        "The answer is not 42 but 43.",
        "6*7",
        "\\boxed{4}\\boxed{2}",
    ],
)
def test_no_answer_and_conflicting_answers_score_nothing(response: str) -> None:
    verdict = verify("42", response)
    assert not verdict.is_right
    assert not verdict.status.is_masked


def test_a_later_box_takes_back_an_earlier_one_unless_all_must_agree() -> None:
    response = "\\boxed{51}. But one was counted twice, so the answer is \\boxed{52}"
    assert verify("52", response).is_right
    assert not verify("51", response).is_right
    assert verify("52", response, finals="agree").flags >= {"conflict"}
    assert not verify("52", response, finals="agree").is_right
    assert verify("52", "\\boxed{51}, \\boxed{x}. In fact it is \\boxed{52}. Yes, \\boxed{52.0}").is_right


@pytest.mark.parametrize(
    "response",
    [
        "\\boxed{50}. Or rather \\boxed{51}. Or rather \\boxed{52}",
        "\\boxed{52}. Or rather \\boxed{51}. No, \\boxed{52}",
        "First \\boxed{49}, next \\boxed{50}, next \\boxed{51}, next \\boxed{52}",
        "\\boxed{50, 51, 52}",
        "\\boxed{51 \\text{ or } 52}",
        "\\boxed{51}, \\boxed{52}",
        "#### 51\nNo:\n#### 52",
        "\\boxed{51}\n#### 52",
        "The final answer is 51. \\boxed{52}",
        "<answer>51</answer> <answer>52</answer>",
    ],
)
def test_hedging_and_marks_of_other_kinds_that_differ_have_no_answer(response: str) -> None:
    assert not verify("52", response).is_right
    assert not verify("52", response, finals="agree").is_right


@pytest.mark.parametrize(
    "response",
    [
        "You want the result in \\boxed form, so here it is: $\\boxed{31}$",
        "The last number has to stand in \\boxed{}. We get \\boxed{31}.",
        "We get \\boxed{31}, in \\boxed as you asked.",
        "\\boxed 31",
    ],
)
def test_a_mention_of_the_command_is_no_box(response: str) -> None:
    assert verify("31", response).is_right
    assert not verify("30", response).is_right


def test_a_mention_behind_which_nothing_is_boxed_is_no_answer() -> None:
    assert not verify("31", "We get \\boxed{31}, and now for \\boxed{}").is_right


def test_boxes_that_stand_side_by_side_are_one_list() -> None:
    for response in (
        "\\boxed{1}\\boxed{2}",
        "$\\boxed{1}$ and $\\boxed{2}$",
        "\\boxed{2}, \\boxed{1}",
        "\\boxed{1} \\quad \\text{and} \\quad \\boxed{2}",
    ):
        assert verify("1, 2", response).is_right, response
        assert not verify("2", response).is_right, response


def test_a_percent_sign_or_degree_mark_behind_the_box_belongs_to_it() -> None:
    assert verify(r"20\%", r"It is $\boxed{20}$ percent.").is_right
    assert verify(r"20\%", r"$\boxed{20}\%$").is_right
    assert not verify("90 cm", r"$\boxed{90}^\circ$").is_right


def test_an_echo_of_the_question_is_no_answer() -> None:
    question = "Natalia sold 48 clips in April and half as many in May. How many are 48 + 24?"
    verdict = verify("24", question, question=question)
    assert verdict.status is Status.NO_ANSWER
    assert verdict.flags == {"echo"}


def test_answer_tags_and_boxes_outside_them_must_agree() -> None:
    assert verify("42", "<answer>42</answer> and \\boxed{42}").is_right
    assert "conflict" in verify("42", "\\boxed{43} <answer>42</answer>").flags


@pytest.mark.parametrize(
    "response",
    ["B", "(B)", "I choose B.", "The answer is (B).", "The answer is B because C is wrong.", "\\boxed{B) 5}"],
)
def test_a_choice_is_found(response: str) -> None:
    assert verify("(B)", response).is_right


@pytest.mark.parametrize(
    "response",
    [
        "A and B",
        "A, B",
        "A B C D",
        "ABCD",
        "\\boxed{A}\\boxed{B}",
        "\\boxed{(B) or (C)}",
        "\\boxed{ABCD}",
        "B or C",
        "not B",
        "B is wrong; A is right",
        "The answer is A or B",
        "\\boxed{\\text{(A) or (B)}}",
        "\\boxed{B. C.}",
        "\\boxed{B, C}",
    ],
)
def test_several_choices_are_none(response: str) -> None:
    assert not verify("(B)", response).is_right


def test_loose_boxes_and_unmarked_answers_carry_flags() -> None:
    assert "loose_box" in verify("5", "\\fbox{5}").flags
    assert "loose_box" not in verify("5", "\\boxed{5}").flags
    assert "unmarked" in verify("5", "It is 5").flags


PIECES = [
    "\\boxed{",
    "\\boxed{}",
    "{",
    "}",
    "<answer>",
    "</answer>",
    "<think>",
    "####",
    "#### 1\n",
    "the answer is ",
    "answer: ",
    "$",
    "\\(",
    "\\[",
    "```\n",
    "\\boxed{1} ",
    "1 ",
    "1,",
    "\\",
    "answer (",
    "answer for ",
    "<|x",
    "9/",
    "\n",
    "**",
    "\\text{",
    "\\boxed ",
    "\\boxed{1} and ",
    "\u00bd",
    "\\{",
    " ",
    "\ud800",
    "final answer",
    "\\boxed{1\n",
    "~~~\n",
]


@pytest.mark.parametrize("tail", ["", "\\boxed{5}"])
def test_the_longest_responses_take_linear_time(tail: str) -> None:
    size = (MAX_RESPONSE_CHARS - 100) // FACTOR
    for piece in PIECES:
        assert not verify("5", piece * (size // len(piece)) + tail, question="What is 2 + 3?").status.is_masked
        assert grows_linearly(lambda text: verify("5", text + tail, question="What is 2 + 3?"), piece, size=size), piece


def test_a_response_over_the_cap_is_not_read() -> None:
    assert verify("5", "x" * MAX_RESPONSE_CHARS).status is Status.NO_ANSWER
    assert verify("5", "x" * (MAX_RESPONSE_CHARS + 1)).status is Status.TOO_COMPLEX


def test_extraction_keeps_order_and_drops_repeats() -> None:
    assert extract("\\boxed{1}. \\boxed{2}. \\boxed{1}").finals == ("2", "1")


def test_a_column_of_guesses_has_no_answer() -> None:
    assert not verify("12", "10\n11\n12").is_right
    assert verify("12", "12\n\n12").is_right


def test_an_answer_behind_a_is_read() -> None:
    assert verify("12", "A: 12").is_right
    assert verify("3:4", "3:4").is_right


def test_checking_an_answer_is_not_answering_again() -> None:
    text = r"so $\boxed{44}$. We may check our answer: $17\cdot 44 = 748 = 9\cdot 83+1 \equiv 1\pmod{83}$."
    assert verify("44", text).is_right
    assert not verify("44", r"so $\boxed{44}$. Check. The answer: $45$").is_right


@pytest.mark.parametrize(
    ("gold", "sentence"),
    [
        ("88", "Altogether, Artie will make $36 + $18 + $34 = $88"),
        ("1300", "If each book sells at 20$, then she earned 20*65 = $1300 in the second year"),
        ("21", "Dean has $38 \u2212 $17 = $21 left."),
        ("57500", "so her salary is $1150/week * 50 weeks/year = $57,500"),
        ("7", "He paid 5+2=7 dollars."),
        ("2", "And 120/60=2 hours."),
    ],
)
def test_a_sum_in_a_last_sentence_is_answered_by_what_it_comes_to(gold: str, sentence: str) -> None:
    assert verify(gold, sentence).is_right
    assert not verify(str(int(gold) + 1), sentence).is_right


def test_the_questions_own_numbers_are_no_answer_where_it_is_repeated() -> None:
    question = "The book costs $4. A pen costs $1 less than a magazine. How much is the pen?"
    assert not verify("1", f"The question is: {question}", question=question).is_right
    assert verify("1", f"{question}\n1", question=question).is_right
    assert verify("1", f"{question} So it is $1.", question=question).is_right


@pytest.mark.parametrize("indent", ["", "    ", " " * 8, "\t\t"])
def test_a_fence_around_an_answer_is_its_dress_however_it_is_indented(indent: str) -> None:
    fenced = "{0}```{1}\n{0}{2}\n{0}```\n"
    for right in (
        fenced.format(indent, "", "42"),
        fenced.format(indent, "latex", r"\boxed{42}"),
        "Here is the answer:\n\n" + fenced.format(indent, "", "42"),
        "Here is the answer:\n\n" + fenced.format(indent, "", "42") + "I hope that it helps.",
        "<answer>\n" + fenced.format(indent, "", "42") + "</answer>",
        "We run\n\n" + fenced.format(indent, "python", r"print(r'\boxed{41}')") + "\nand get \\boxed{42}.",
        "\\boxed{42}\n\n" + fenced.format(indent, "python", r"print(r'\boxed{41}')"),
    ):
        assert verify("42", right).is_right, right
    guesses = "The answer is:\n" + fenced.format(indent, "", "41") + "or\n" + fenced.format(indent, "", "42")
    assert not verify("42", guesses).is_right


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        *(("-18", text) for text in (r"-\boxed{18}", r"x=-\boxed{18}", r"$-\boxed{18}$", "x = \u2212\\boxed{18}")),
        *(("-18", text) for text in (r"The answer is -\boxed{18}.", r"Answer: -$\boxed{18}$", r"x = (-\boxed{18})")),
        *(("-18", text) for text in (r"so -\boxed{18}", r"It is minus \boxed{18}", r"x = - \boxed{18}")),
        *(("18", text) for text in (r"20 minus 2 = \boxed{18}", r"20 minus \boxed{18}", r"a so-called -\boxed{18}")),
        ("-1-x", r"f = -\boxed{x+1}"),
        (r"\pm 18", r"x = \pm\boxed{18}"),
        *(("18000000", text) for text in (r"$\boxed{18}$ million", r"\boxed{18}\text{ million}")),
        *(("18000", text) for text in (r"\boxed{18} thousand dollars", r"$\boxed{1.8}\times 10^{4}$")),
        *(("18", text) for text in (r"20 - 2 = \boxed{18}", r"x = 20 -\boxed{18}", r"$20$-$\boxed{18}$")),
        *(("18", text) for text in ("Answer:\n- \\boxed{18}", r"- $\boxed{18}$", r"Answer - \boxed{18}")),
        *(("18", text) for text in (r"\boxed{18} million-dollar prizes", "\\boxed{18}\n\nThousand thanks")),
        *(("18", text) for text in (r"\boxed{18} three-element sets", r"\boxed{18}\times 1", r"\boxed{18}千克")),
        *(("18", text) for text in (r"It is \boxed{18}, not \boxed{17}.", r"Not 17 but \boxed{18}")),
        *(("18", text) for text in (r"$x \ne \boxed{17}$, so $x = \boxed{18}$", "#### 18\nIt is not \\boxed{17}.")),
        *(("18", text) for text in ("whether it is odd or not\n\\boxed{18}", "There are more than not\n\\boxed{18}")),
        *(("18.5", text) for text in (r"\boxed{18}.5", r"The answer is $\boxed{18}$.5.", r"\boxed{18}\frac{1}{2}")),
        *(("18500000", text) for text in (r"\boxed{18}.5 million", r"\boxed{18},500,000")),
        *(("(x+1)^2", text) for text in (r"\boxed{x+1}^2", r"f(x) = $\boxed{x+1}^{2}$")),
        *(("18", text) for text in (r"\boxed{18}. 5 remain", r"\boxed{18}, 5 more", r"\boxed{18}!", r"$\boxed{18}.$")),
        *(("18", text) for text in (r"\boxed{18} m^2", r"\boxed{18}\text{ cm}^2", r"\boxed{18 \text{ cm}}^2")),
        *(("18", text) for text in (r"\boxed{18}/day", r"\boxed{18}^{th}", r"\boxed{18}^{\text{th}}", r"\boxed{18}^o")),
        ("18", r"\boxed{18}$^2$"),
        *(
            ("18", text)
            for text in (r"x \le \boxed{18}", r"at most \boxed{18}", r"So it is always less than $\boxed{18}$.")
        ),
        ("18", "#### 18\nIt is not #### 17"),
    ],
)
def test_what_touches_a_box_is_read_with_it(gold: str, response: str) -> None:
    assert verify(gold, response).is_right


@pytest.mark.parametrize(
    "response",
    [
        *(r"-\boxed{18}", r"x = -\boxed{18}", r"$-\boxed{18}$", r"#### -\boxed{18}", r"x = \pm\boxed{18}"),
        *(r"so -\boxed{18}", r"negative \boxed{18}", r"We get minus $\boxed{18}$", r"\boxed{18} and a half"),
        *(r"\boxed{18}\times10^3", r"$\boxed{18} \times 10^{3}$", r"\boxed{18} thousand", r"$\boxed{18}$ million"),
        *(r"\boxed{18}\,\text{million}", r"\boxed{18} dozen", r"\boxed{18}万", r"$\boxed{18}$亿", r"\boxed{18} тысяч"),
        *(r"x \ne \boxed{18}", "x \u2260 $\\boxed{18}$", r"The answer is not \boxed{18}", r"It isn't \boxed{18}."),
        *(r"The answer cannot be \boxed{18}", r"It is not equal to $\boxed{18}$", r"答案不是\boxed{18}"),
        *(r"It is \boxed{17}, not \boxed{18}.", r"\boxed{18} million. Or maybe 18."),
        *(r"\boxed{18}.5", r"$\boxed{18}$.5", r"\boxed{18}^2", r"\boxed{18}^n", r"$\boxed{18}!$", r"\boxed{18}/5"),
        *(r"$\boxed{18}^{\frac{1}{2}}$", r"\boxed{18}\frac12", "\\boxed{18}\u00bd", "\\boxed{18}\u00b2"),
        *(r"\boxed{18},000", r"\boxed{18}5", "not #### 18", "It isn't #### 18"),
    ],
)
def test_a_box_with_a_sign_a_power_of_ten_or_a_denial_beside_it_is_not_what_it_holds(response: str) -> None:
    assert not verify("18", response).is_right
