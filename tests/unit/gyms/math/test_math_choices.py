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
    "\\boxed{\\text{Statement D}}",
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
BELOW = "The others were ruled out above, one after the other, in the table and by the lengths of their sides. " * 5
CLAIMED = [
    "The best choice is D, since the others overlap.",
    "Comparing the four shapes, the best choice is D, since A and C are too small.",
    "So D is the right choice, as B is too large.",
    "I would pick D here, since it is the only even one.",
    "The most suitable option is D, given that the mean is 4.",
    "D) is the answer, since A and C are negative.",
    "We see that option D is correct; the others are not.",
    "so the answer would be D, not B.",
    "The best choice is D rather than C.",
    "Among the choices, D is the best, since it is the largest.",
    "Hence option (D) because the area doubles.",
    "Since A and B are wrong, the best choice is D.",
    "We can rule out A, B and C, so I choose D.",
    "Option D, since A, B and C are ruled out",
    "The best choice is D, since the others overlap. Note that widths are positive.",
    "I would go with D, since the sum is even.",
    "So select D, because the others are too small for the given box.",
    "We must therefore choose D, as the mean of the numbers is 4.",
    "I choose D as the answer, since the others overlap in the drawing.",
    "I choose D for the simple reason that it alone is even.",
    "A is too small and B is odd, so choose D.",
    BELOW + "The best choice is (D), since the others overlap. This was shown above.",
    BELOW + "Hence (D) is correct because A and B fail. This was shown above.",
]
NOT_CLAIMED = [
    "The best choice is D or C, since both fit.",
    "The best choice is between D and C.",
    "If B is right, the best choice is D.",
    "I do not think that the best choice is D.",
    "It is false that D is the right answer.",
    "The best choice is B, since D is wrong.",
    "Hence option (B) because (D) fails.",
    "The best choice is A, since the best choice is B, since the best choice is D.",
    "Is D correct, since C fails?",
    "D is correct? I doubt it.",
    "Both D and C are correct.",
    "The best choice is D, but C is better.",
    "The best choice is D. But C is better.",
    "Maybe the best choice is D.",
    "Let D be the midpoint.",
    "Consider option D.",
    BELOW + "The best choice is D, since the others overlap. However C fits too.",
]
NOT_OF_AN_OPTION = [
    "Most students choose D. They forget the sign of the root, so the true value matches the third option instead.",
    "Most students choose D.",
    "Many would pick D here, since it looks the largest of all of them.",
    "Only statement D is true, which corresponds to the third choice in the list that was given above.",
    "Of the four lines only claim (D) is correct, and it is listed in the third place among the given ones.",
    "The corners are lettered, and vertex D is right between the other corners of the regular polygon.",
    "In triangle DEF we pick D as the origin, and the remaining claim follows from the similar triangles.",
    "We choose D to be the midpoint of the side, and the remaining part follows as it did above.",
    "We choose D as pivot, and then the remaining part of the long computation follows as it did above.",
    "Option D is obtained by whoever forgets the sign of the root in the second line of this computation.",
    "Option D says that the sum of the two numbers in the first line of the table is larger than the other sum.",
    "I choose D. The true value is given by the third option instead.",
    BELOW + "I choose D.\nThe true value matches the third option instead.",
    BELOW + "Most students choose D. They forget the sign of the root.",
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
@pytest.mark.parametrize("response", ONE + CLAIMED)
def test_the_usual_forms_of_a_choice_name_it(gold: str, response: str) -> None:
    assert verify(gold, response).is_right
    assert not verify(gold.replace("D", "B"), response).is_right


@pytest.mark.parametrize("gold", ["D", "(D)", "\\text{D}"])
@pytest.mark.parametrize("response", NONE + NOT_CLAIMED + NOT_OF_AN_OPTION)
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
