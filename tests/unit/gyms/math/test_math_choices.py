"""Which option an answer names: the usual forms, and lists and denials that name none."""

from __future__ import annotations

import pytest

from gyms.api import Status
from gyms.math.verify import verify

ONE = [
    "\\boxed{D}",
    "\\boxed{(D)}",
    "\\boxed{[D]}",
    "\\boxed{d}",
    "\\boxed{D.}",
    "\\boxed{D)}",
    "\\boxed{\\text{D}}",
    "\\boxed{\\text{(D)}}",
    "\\boxed{\\textbf{(D) } 45}",
    "\\boxed{\\textbf{(D)}\\ 45^\\circ}",
    "\\boxed{\\textbf{(D)}\\ \\frac{2}{7}}",
    "\\boxed{\\mathrm{(D)}\\quad 45}",
    "\\boxed{(D)\\ \\sqrt{2}}",
    "\\boxed{D. \\frac{2}{7}}",
    "\\boxed{\\text{D}. 45}",
    "\\boxed{D: 45}",
    "\\boxed{D) 45}",
    "\\boxed{\\text{D. the median}}",
    "\\boxed{\\text{D. A triangle}}",
    "\\boxed{\\text{Option D}}",
    "\\boxed{\\text{Choice D}}",
    "\\boxed{\\text{choice (D)}}",
    "\\boxed{\\text{Answer: D}}",
    "Answer: (D) 45",
    "answer is D) 45",
    "The answer is D. 45 degrees.",
    "So the correct option is **D. 45 degrees**.",
    "The correct choice is D.",
    "The correct answer is (D), because the others fail.",
    "<answer>(D) 45</answer>",
    "Hence I choose D.",
    "D. Because C is too large",
]
NONE = [
    "\\boxed{A) B C D}",
    "\\boxed{(D) (C)}",
    "\\boxed{D) or C)}",
    "\\boxed{D. C. B. A.}",
    "\\boxed{D, C}",
    "\\boxed{D and C}",
    "\\boxed{(D) 45 (C) 30}",
    "\\boxed{\\text{D. the median, C. the mean}}",
    "\\boxed{\\text{Option D or option C}}",
    "\\boxed{ABCD}",
    "\\boxed{\\text{not D}}",
    "\\boxed{(D) is wrong}",
    "\\boxed{\\text{(D) cannot be}}",
    "\\boxed{C}",
    "\\boxed{(C) 45}",
    "\\boxed{45}",
    "The answer is D or C.",
    "Answer: (C) D is wrong",
    "\\boxed{D} and \\boxed{C}",
    "\\boxed{2D}",
    "\\boxed{\\text{either D or another}}",
    "\\boxed{\\text{D, or else c}}",
    "\\boxed{\\text{D | C}}",
    "\\boxed{\\text{D (or C)}}",
    "D) 3\nC) 4",
    "D C B A",
]


@pytest.mark.parametrize("gold", ["D", "(D)", "\\text{D}", "\\textbf{(D)}"])
@pytest.mark.parametrize("response", ONE)
def test_the_usual_forms_of_a_choice_name_it(gold: str, response: str) -> None:
    assert verify(gold, response).is_right
    assert not verify(gold.replace("D", "B"), response).is_right


@pytest.mark.parametrize("gold", ["D", "(D)", "\\text{D}"])
@pytest.mark.parametrize("response", NONE)
def test_lists_denials_and_other_options_do_not(gold: str, response: str) -> None:
    assert not verify(gold, response).is_right


def test_a_gold_answer_of_letter_and_value_takes_either_and_no_contradiction() -> None:
    gold = "\\textbf{(D)}\\ 45"
    for answer in ("D", "(D)", "(D) 45", "\\textbf{(D)}\\ 45", "\\text{D. }45", "45"):
        assert verify(gold, rf"\boxed{{{answer}}}").is_right, answer
    for answer in ("(D) 44", "(C) 45", "C", "44", "(C) 45 (D) 45"):
        assert not verify(gold, rf"\boxed{{{answer}}}").is_right, answer


def test_a_bare_letter_may_be_a_variable_and_a_product_in_brackets_is_no_choice() -> None:
    assert verify("B", "\\boxed{x = B}").is_right
    assert verify("B", "\\boxed{\\frac{2B}{2}}").is_right
    assert not verify("B", "\\boxed{B + 1}").is_right
    assert verify("(A)(x+1)", "\\boxed{Ax + A}").is_right
    assert not verify("(A)(x+1)", "\\boxed{A}").is_right
    assert verify("12 apples", "\\boxed{A}", answer_type="choice").status is Status.BAD_TASK
