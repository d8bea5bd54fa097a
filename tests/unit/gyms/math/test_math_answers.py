"""Which answers stand for a gold answer, and which do not: the policy of docs/math.md, row by row."""

from __future__ import annotations

import pytest

from gyms.api import Status
from gyms.math.verify import verify

RIGHT = [
    # numbers and their dress
    ("1/2", r"\frac12"),
    ("1/2", "0.5"),
    ("0.5", r"\dfrac{1}{2}"),
    ("-1/2", r"\frac{-1}{2}"),
    ("-1/2", r"\frac{1}{-2}"),
    ("1234", "1,234"),
    ("1234", r"1\,234"),
    ("1234", "1{,}234"),
    ("1234", r"1,\!234"),
    ("1234", "1 234"),
    ("123", "\uff11\uff12\uff13"),
    ("123", "\u0661\u0662\u0663"),
    ("-5", "\u22125"),
    ("1/2", "\u00bd"),
    ("7/2", "3\u00bd"),
    ("7/2", r"3\frac12"),
    ("7/2", "3 1/2"),
    ("-7/2", r"-3\frac{1}{2}"),
    ("6.02e23", r"6.02\times10^{23}"),
    ("602000000000000000000000", "6.02e23"),
    ("5", "5."),
    ("5", " 5 "),
    ("73", "**73**"),
    ("4", "4.0"),
    ("5", "(5)"),
    ("1/3", r"0.\overline{3}"),
    ("5000000", "5 million"),
    ("1000.99", "1000,99"),
    ("2.74", "2,74"),
    ("0.111", "0,111"),
    # exact values without a finite decimal take a decimal of six digits
    ("1/3", "0.333333"),
    (r"\sqrt2", "1.414214"),
    (r"\sqrt2", "1.414213"),
    (r"\pi", "3.14159"),
    ("1/12", "0.0833333333333333"),
    ("2^{100}", "1267650600228229401496703205376"),
    ("2^{100}", r"1.2676506002282294\times10^{30}"),
    # surds, constants, expressions
    (r"2\sqrt{13}", r"\sqrt{52}"),
    (r"\frac{\sqrt3}{3}", r"\frac{1}{\sqrt3}"),
    (r"2\sqrt{3}", "2\u221a3"),
    ("12\\pi", "12\u03c0"),
    (r"\sqrt{\frac1n}", r"\frac{1}{\sqrt n}"),
    (r"\frac{\sqrt{\sqrt{11}+\sqrt{194}}}{15+2\sqrt{33}}", r"\frac{\sqrt{\sqrt{11}+\sqrt{194}}}{2\sqrt{33}+15}"),
    ("(x+1)^2", "x^2+2x+1"),
    (r"\sin^2 x", r"1-\cos^2 x"),
    (r"\tan^2(y)+1", r"\sec^2(y)"),
    (r"\ln 2", r"-\ln\frac12"),
    (r"\log_2 3", r"\frac{\ln 3}{\ln 2}"),
    ("x^2", "x\u00b2"),
    (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}"),
    ("1+2i", "2i+1"),
    ("i", r"\sqrt{-1}"),
    (r"e^{i\pi}", "-1"),
    # forms that the gold answer itself has
    (r"\frac{-4}{2}", r"\frac{-4}{2}"),
    (r"\frac{-4}{2}", "-2"),
    ("5!", "5!"),
    ("5!", "120"),
    ("2^{10}", "1024"),
    (r"17 \cdot 23", r"23 \cdot 17"),
    (r"\binom{5}{2}", "10"),
    (r"\sum_{k=0}^{n-1} F_k F_{n-k-1}", r"\sum_{k=0}^{n-1} F_{n-k-1} F_k"),
    # equations and assignments
    ("x=5", "5"),
    ("5", "x=5"),
    ("5", "5=x"),
    ("5", "x = 2+3 = 5"),
    ("y=2x+3", "2x-y+3=0"),
    ("y=2x+3", "2x+3"),
    ("2x+3", "y=2x+3"),
    ("f(x)=x^2", "x^2"),
    ("|AB|=1", "1"),
    (r"\frac{NO}{BO}=\frac{1}{\sqrt6}", r"\frac{1}{\sqrt6}"),
    ("(p,q,r)=(3,2,7)", "(3,2,7)"),
    ("34x+45y-20z+100=0", "-34x-45y+20z-100=0"),
    ("x^2/4 + y^2/3 = 1", "x^2/16 + y^2/12 = 1/4"),
    ("AB=4,CD=5", "4, 5"),
    ("k = 45, n = 2", "n=2, k=45"),
    ("x_1=2, x_2=-1", "-1, 2"),
    # sets, lists, intervals, inequalities
    (r"\{1,2,3\}", r"\{3,2,1\}"),
    ("1,2", "2,1"),
    ("1,2", "2 and 1"),
    ("19, 46, and 82", r"19, 46, \text{ and } 82"),
    (r"3\pm2\sqrt2", r"3+2\sqrt2, 3-2\sqrt2"),
    (r"\{1\pm\sqrt{5},-2\}", r"\{-2, 1-\sqrt5, 1+\sqrt5\}"),
    (r"(1,2)\cup(3,4)", r"(3,4)\cup(1,2)"),
    ("x<1", r"(-\infty,1)"),
    (r"(-\infty,1)", "x<1"),
    ("x<1", "1>x"),
    (r"x \ge 5", r"[5,\infty)"),
    (r"x\ne 5", r"(-\infty,5)\cup(5,\infty)"),
    (r"\mathbb{R}\setminus\{2\}", r"x \neq 2"),
    (r"x\in[-2,7]", r"-2 \le x \le 7"),
    ("(-1,6)", "-1<x<6"),
    (r"x < 1 \text{ or } x > 2", r"(-\infty,1)\cup(2,\infty)"),
    (r"1\leq|z|\leq \frac{3}{2}", r"[-\frac32,-1]\cup[1,\frac32]"),
    (r"x \le 1", r"-x \ge -1"),
    ("0<f(x)<1", "(0,1)"),
    ("(11,7)or(7,11)", r"(7,11),\ (11,7)"),
    ("(5, 8), (8, 5)", r"(x, y) = (5, 8) \quad \text{and} \quad (8, 5)"),
    # vectors, matrices, ratios
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"),
    (r"\langle 1,2\rangle", "(1,2)"),
    ("3:4", "3/4"),
    ("3/4", "3:4"),
    ("3:4", "6:8"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\left[\begin{array}{cc}1&2\\3&4\end{array}\right]"),
    ("12:00", "12:00"),
    # units, currency, percent, degrees
    ("1 m", "100 cm"),
    ("100 cm", "1 m"),
    ("10 m/s", "36 km/h"),
    ("5 kg", "5kg"),
    ("5 kg", "5"),
    ("5", "5 kg"),
    ("5", "5 apples"),
    (r"15\text{ cm}^2", "15 square centimeters"),
    (r"15\text{ cm}^2", "15 cm\u00b2"),
    (r"\$18.90", "18.90"),
    (r"5.4\text{ cents}", r"\$0.054"),
    (r"50\%", r"50\%"),
    (r"50\%", "0.5"),
    (r"50\%", r"\frac12"),
    ("0.75", r"75\%"),
    (r"28\%", "28 percent"),
    (r"28\%", "28 pct"),
    (r"90^\circ", "90"),
    (r"90^\circ", r"\frac{\pi}{2}"),
    (r"\frac{\pi}{2}", r"90^\circ"),
    (r"90^\circ", "90 degrees"),
    # words, choices, the infinite and the undefined
    (r"\text{no solution}", r"\emptyset"),
    (r"\emptyset", "no solution"),
    (r"\emptyset", r"\{\}"),
    (r"\text{DNE}", "does not exist"),
    (r"\infty", r"\text{infinity}"),
    (r"(-\infty,\infty)", r"\mathbb{R}"),
    (r"\mathbb{R}", "all real numbers"),
    ("(A)", "A"),
    ("A", "(A)"),
    (r"\text{(C)}", "C"),
    (r"\text{(C)}", r"\textbf{(C)}\ 12"),
    (r"\text{Evelyn}", "evelyn"),
    (r"\text{odd}", "odd"),
    (r"\text{e}", "e"),
    # bases
    ("204_5", "204_{5}"),
    ("12", "12_{10}"),
    ("3", "11_2"),
    # found by attacking
    ("-2<x<3", "x>-2 \\text{ and } x<3"),
    ("x=3", "x\\in\\{3\\}"),
    ("Yes", "\\text{yes}"),
    ("blue", "the blue"),
    ("\\sqrt[3]{2}", "2^{\\frac13}"),
    ("5 \\text{ m/s}", "5 m s^{-1}"),
    ("12:30\\text{ pm}", "12:30 PM"),
    ("5", "5\\;"),
    ("5", "5 \\\\"),
    ("2x+1", "f'(x) = 2x+1"),
    ("(1,2)\\cup(2,3)", "(1,3)\\setminus\\{2\\}"),
    ("[1,3]", "[1,2]\\cup[2,3]"),
    ("\\frac13", "\\frac13\\approx0.333"),
    ("7\\cdot 6^2", "252"),
    # what the box holds may be boxed again
    ("5", r"\boxed{5}"),
    ("5", r"\fbox{5}"),
    # what a second attack found
    ("1/2", r"{1\over 2}"),
    ("1/2", r"1 \over 2"),
    (r"\binom{10}{3}", r"{10 \choose 3}"),
    ("18", r"18\text{ units}^2"),
    ("18", r"\underline{18}"),
    ("18", r"\color{red}18"),
    ("18", r"\textcolor{red}{18}"),
    ("18", "The answer is 18"),
    ("18", r"\text{Area} = 18"),
    ("18", r"\text{Answer: }18"),
    ("18", "Total: 18"),
    ("18", "18 (dollars)"),
    ("18", "m+n = 18"),
    ("18", r"\angle ABC = 18^\circ"),
    ("18", r"m\angle ABC = 18^\circ"),
    (r"\frac{270}7\text{ degrees}", r"{\frac{270}7\text{ degrees}}"),
    (r"\$36", r"\mathbf{\$36}"),
    ("(1,2)", "x=1, y=2"),
    ("(1,2)", "P(1,2)"),
    ("(1,2)", "A(1,2)"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\[4pt] 3 & 4 \end{pmatrix}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,2],[3,4]]"),
    ("101_2", r"101_{\text{two}}"),
    ("101_2", "101 base 2"),
    ("3+4i", r"3+4\mathrm{i}"),
    ("y=2x+3", "f(x)=2x+3"),
    (r"\text{no solution}", "no solution exists"),
    ("12:30", "12{:}30"),
    ("3:4", "3 to 4"),
    (r"\sqrt{51}", "\u221a51"),
]

WRONG = [
    # restated instead of evaluated
    ("391", r"17\cdot 23"),
    ("391", "17*23"),
    ("391", "17 \u00d7 23"),
    ("120", "5!"),
    ("10", r"\sum_{k=1}^4 k"),
    ("1/3", r"\int_0^1 x^2 dx"),
    ("2024", "2023+1"),
    ("2", r"\lim_{x\to0}\frac{\sin 2x}{x}"),
    ("4", r"\max(1,4)"),
    ("3", r"\sqrt9"),
    ("-1", r"e^{i\pi}"),
    ("18", "36/2"),
    ("1024", "2^{10}"),
    ("5", "5+0"),
    ("5", r"5\cdot1"),
    ("5", r"\frac{10}{2}"),
    ("1/2", r"\frac{1}{2}+0"),
    ("9", "|-9|"),
    ("8", "2^3"),
    ("7", r"\lfloor 7.5\rfloor"),
    ("10", r"\binom{5}{2}"),
    ("7/2", r"3+\frac12"),
    ("7+\\sqrt2", r"3+4+\sqrt2"),
    ("1", r"\sin^2 x+\cos^2 x"),
    ("0", "x-x"),
    ("4\\pi", r"\sqrt{16}\pi"),
    (r"\begin{pmatrix}2\\4\end{pmatrix}", r"2\begin{pmatrix}1\\2\end{pmatrix}"),
    # other numbers
    ("1.0", "1.0000004"),
    ("1/3", "0.333"),
    (r"\sqrt2", "1.41"),
    (r"\pi", "3.14"),
    ("100", "100.0001"),
    ("100000000", "100000001"),
    ("1/7", "0.142857142858"),
    ("2^{100}", "1267650600228229401496703205377"),
    ("1234", "1.234"),
    ("1.234", "1,234"),
    ("1234.5", "1.234,5"),
    ("0.05", "0,5"),
    ("0.5", "0,05"),
    ("5", "-5"),
    ("5", r"\pm5"),
    (r"\pm 2021", "2021"),
    ("3/2", r"3\frac12"),
    ("12", "1 2"),
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}"),
    (r"\frac{22}{7}", r"\pi"),
    ("x", "x+10^{-30}"),
    (r"\sqrt{x^2}", "x"),
    ("2", "2i"),
    ("3", "3x"),
    # bases and units
    ("52_8", "42"),
    ("52_8", "52"),
    ("12", "12_5"),
    ("5 kg", "5 m"),
    ("5 km", "5 kg"),
    (r"\$5", "5 \u20ac"),
    ("5 m", "5 m^2"),
    ("100", "1 m"),
    ("50", r"50\%"),
    ("0.5", r"0.5\%"),
    (r"50\%", "50"),
    ("45", "45 or 46"),
    ("5 apples", "5 pens"),
    ("5", "5 factorial"),
    # equations
    ("5", "4=5"),
    ("11", "x = 5+5+1 = 7 = 11"),
    ("x=5", "y=5"),
    ("2x+3", "y=2x+4"),
    ("3x-y+13=0", "3x+4y+14=0"),
    ("a+3z=0", "0"),
    ("0", "a+3z=0"),
    ("7 = 11a+c", "11a+c"),
    ("5", "x=5, y=6"),
    ("f(x)", "f(y)"),
    ("AB=4,CD=5", "5, 4"),
    # sets and order
    ("[0,1)", "(0,1)"),
    ("[0,1]", "(0,1)"),
    ("(1,2)", "(2,1)"),
    ("x<1", r"x\le 1"),
    ("x<1", "x>1"),
    (r"(3,\infty)", r"[3,\infty)"),
    ("1728", "1331, 1728"),
    ("1728", "1331 and 1728"),
    ("1,2", "1,2,3"),
    ("5", "5, 5, 6"),
    ("2", "2,3"),
    (r"\{1,2\}", "(1,2)"),
    ("32349", "32, 349"),
    (r"\emptyset", "0"),
    (r"\emptyset", r"\{0\}"),
    (r"\infty", r"-\infty"),
    (r"\text{DNE}", "0"),
    (r"\text{DNE}", r"\infty"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\end{pmatrix}"),
    ("12:00", "1:00"),
    ("1:15", "2:30"),
    # found by attacking
    ("7 \\pmod{11}", "7"),
    ("(B)", "(B) or (C)"),
    ("x>0", "(0,\\infty]"),
    ("\\mathbb{R}", "x>-2, x<3"),
    ("5 dollars", "5 euros"),
    ("0", "1e-400"),
    ("12345678901234567890", "1.23456789012345678e19"),
    ("5", "5\\%"),
    ("-2", "\\begin{vmatrix}1&2\\\\3&4\\end{vmatrix}"),
    ("x+y", "x+y=0"),
    ("y=2x+3", "x=2y+3"),
    ("y\\le 2x", "y<2x"),
    ("2i", "\\sqrt{-4}"),
    ("3", "x=3\\text{ (reject }x=4)"),
    ("10", "10^2"),
    # words and choices
    ("A", "B"),
    ("A", "A, B"),
    ("(A)", "A or B"),
    (r"\text{yes}", "no"),
    (r"\text{yes}", "yes and no"),
    (r"\text{east}", "west"),
    ("ab", "ba"),
    # nothing, and what is never evaluated
    ("5", ""),
    ("5", " "),
    ("5", "$"),
    ("5", "the correct answer"),
    ("5", "__import__('os').system('id')"),
    ("5", "().__class__.__base__"),
    ("5", "lambda: 5"),
    ("5", "open('/etc/passwd')"),
    ("5", "5;import os"),
    ("5", "exec('5')"),
    ("5", "[x for x in [5]][0]"),
    # what a second attack found
    ("18", "I don't think it is 18"),
    ("18", r"\text{not: }18"),
    ("18", "2x = 18"),
    ("18", r"18 \approx 20"),
    ("x+y=18", "18"),
    ("12:30", "2:5"),
    ("12:30", "0.4"),
    ("y=2x+3", "f(y)=2x+3"),
    ("(1,2)", "y=1, x=2"),
    ("(1,2)", "x=2, y=1"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,3],[2,4]]"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,2,3,4]]"),
    (r"\sqrt{51}", "\u221a5 \u00b7 1"),
    ("101_2", "101 base 3"),
]


@pytest.mark.parametrize(("gold", "answer"), RIGHT)
def test_answers_that_stand_for_the_gold_answer(gold: str, answer: str) -> None:
    assert verify(gold, rf"So it is \boxed{{{answer}}}.").is_right


@pytest.mark.parametrize(("gold", "answer"), WRONG)
def test_answers_that_do_not(gold: str, answer: str) -> None:
    verdict = verify(gold, rf"So it is \boxed{{{answer}}}.")
    assert not verdict.is_right
    assert verdict.status is not Status.BAD_TASK


@pytest.mark.parametrize(("gold", "answer"), [pair for pair in RIGHT if pair[0] != pair[1]])
def test_gold_answers_verify_themselves(gold: str, answer: str) -> None:
    assert verify(gold, rf"\boxed{{{gold}}}").is_right


@pytest.mark.parametrize(
    "answer", [r"17\cdot 23", "5!", "2023+1", r"\sum_{k=1}^4 k", r"\int_0^1 x^2dx", r"\lim_{x\to 0} x", r"\max(1,4)"]
)
def test_restated_work_carries_a_flag(answer: str) -> None:
    assert "unevaluated" in verify("391", rf"\boxed{{{answer}}}").flags


def test_a_percent_sign_is_free_only_where_the_question_asks_for_percent() -> None:
    assert not verify("20", r"\boxed{20\%}").is_right
    assert verify("20", r"\boxed{20\%}", question="What percent of 50 is 10?").is_right
    assert verify(r"20\%", r"\boxed{20}", question="What percent of 50 is 10?").is_right
    assert not verify("0.2", r"\boxed{0.2\%}", question="What fraction is it?").is_right


def test_an_expression_of_the_question_is_no_answer_to_it() -> None:
    question = "Simplify $\\sqrt{52}$, and convert $0.75$; factor $x^2+7x+10$."
    assert verify("2\\sqrt{13}", r"\boxed{\sqrt{52}}", question=question).flags == {"restated"}
    assert not verify("(x+2)(x+5)", r"\boxed{x^2+7x+10}", question=question).is_right
    assert verify("(x+2)(x+5)", r"\boxed{(x+5)(x+2)}", question=question).is_right


def test_a_tolerance_widens_and_units_bind() -> None:
    assert verify("3.14159", r"\boxed{3.14}", tolerance=0.01).is_right
    assert not verify("3.14159", r"\boxed{3.1}", tolerance=0.01).is_right
    assert verify(r"(\frac35,\frac83]", r"\boxed{(0.6,2.6667]}", tolerance="0.01").is_right
    assert verify("5", r"\boxed{500 cm}", units="m").is_right
    assert not verify("5", r"\boxed{500 kg}", units="m").is_right
    assert not verify("5 m", r"\boxed{5}", units=True).is_right
    assert verify("5 m", r"\boxed{5m}", units=True).is_right


@pytest.mark.parametrize(
    "task",
    [
        {"gold": ""},
        {"gold": "  "},
        {"gold": r"\boxed{}"},
        {"gold": r"\boxed{5"},
        {"gold": r"\foo{5}"},
        {"gold": "9**9**9**9"},
        {"gold": "1/0"},
        {"gold": "4=5"},
        {"gold": r"\sqrt{x<2}"},
        {"gold": "5", "tolerance": -1},
        {"gold": "5", "tolerance": "wide"},
        {"gold": "5", "tolerance": float("nan")},
        {"gold": "5", "tolerance": True},
        {"gold": "5", "units": "blorg7"},
        {"gold": "5 m", "units": "kg"},
        {"gold": "5", "units": True},
        {"gold": "5", "answer_type": "number!"},
        {"gold": "12 apples", "answer_type": "choice"},
    ],
)
def test_a_gold_answer_that_cannot_be_used_is_a_bad_task(task: dict) -> None:
    assert verify(response=r"\boxed{5}", **task).status is Status.BAD_TASK
