"""Other notations of the same answer, and identities: each gold with right answers and with wrong ones."""

from __future__ import annotations

import pytest

from gyms.api import Status
from gyms.math.verify import verify
from tests.unit.gyms.math.boxed import verdicts

COUNTS = [  # gold, right answers, wrong answers
    (
        r"\binom{7}{3}",
        [
            "35",
            r"{}_7C_3",
            r"_7C_3",
            "^7C_3",
            "{}^7C_3",
            r"{}^{7}\mathrm{C}_{3}",
            "7C3",
            "C(7,3)",
            "C_7^3",
            "C^7_3",
            r"\mathrm{C}_7^3",
            r"{7 \choose 3}",
            r"\binom73",
            r"\dbinom{7}{4}",
            r"_7C_3 = 35",
        ],
        ["36", r"{}_7C_2", r"_7P_3", "C_7^2", "C(3,7)", "7C2", "{}_7C_3 = 36"],
    ),
    (
        "35",
        [r"{}_7C_3 = 35", "C_7^3 = 35", "C(7,3) = 35", "7C3 = 35"],
        ["_7C_3", "C_7^3", "C(7,3)", "_7C_3 = 36", "7C3"],
    ),
    ("C_{10}^3", ["120", r"\binom{10}{3}", "C_{10}^7"], ["720", "C_{10}^4", "1000"]),
    ("210", [r"{}_7P_3 = 210", "A_7^3 = 210", r"P(7,3) = 210"], [r"{}_7P_3", "7P3"]),
    (
        r"\binom{n}{k}",
        [r"{}_nC_k", "C(n,k)", "C_n^k", r"\binom{n}{n-k}", r"\frac{n!}{k!(n-k)!}"],
        [r"\binom{n}{k-1}", "C(k,n)"],
    ),
    (r"\binom{n}{3}", [r"\frac{n(n-1)(n-2)}{6}"], [r"\frac{n(n-1)(n-2)}{3}", r"\frac{n^3}{6}"]),
    (r"\frac{n!}{(n-2)!}", ["n(n-1)", r"{}_nP_2", "n^2-n"], ["n(n-2)", "n^2"]),
    (r"(n+1)! - n!", [r"n \cdot n!"], [r"(n+1) \cdot n!"]),
    ("C_1^2", ["C_1^2"], ["2", "1"]),
    ("C_1^2 + C_2", [r"C_2 + C_1^2"], ["2 + C_2"]),
    ("C_3^2 x", [], ["3x"]),
    ("(7, 3)", ["C(7, 3)"], ["35"]),
    ("x_1^2", ["x^2_1", "x_1^{2}"], ["x_2^1", "x_1"]),
]


@pytest.mark.parametrize(("gold", "right", "wrong"), COUNTS)
def test_combinations_and_arrangements_are_read_in_every_notation(
    gold: str, right: list[str], wrong: list[str]
) -> None:
    assert verdicts(gold, right) == dict.fromkeys(right, True)
    assert verdicts(gold, wrong) == dict.fromkeys(wrong, False)


WHOLE = [
    ("(-1)^n", [r"\cos n\pi", r"\cos(\pi n)", r"\sin\frac{(2n+1)\pi}{2}", "i^{2n}", "(-1)^{-n}", "(-1)^{n+2}"],
     [r"\cos 2n\pi", r"-\cos n\pi", "1"]),
    ("(-1)^x", [], [r"\cos \pi x"]),
    (r"\frac{2}{n\pi}(1-\cos n\pi)", [r"\frac{2}{n\pi}(1-(-1)^n)", r"\frac{4}{n\pi}\sin^2\frac{n\pi}{2}"],
     [r"\frac{2}{n\pi}(1+(-1)^n)", r"\frac{4}{n\pi}"]),
    (r"\left\lceil \frac{n}{2} \right\rceil", [r"\left\lfloor \frac{n+1}{2} \right\rfloor", r"n-\lfloor n/2 \rfloor"],
     [r"\left\lfloor \frac{n}{2} \right\rfloor + 1", r"\frac{n+1}{2}"]),
    (r"\left\lceil \frac{x}{2} \right\rceil", [r"-\lfloor -x/2 \rfloor"],
     [r"\left\lfloor \frac{x+1}{2} \right\rfloor"]),
    (r"\lfloor n \rfloor", [r"-\lceil -n \rceil", r"\lfloor n+2 \rfloor - 2"], ["n"]),
    (r"\lfloor x + y \rfloor", [r"\lfloor y + x - 1 \rfloor + 1"], [r"\lfloor x \rfloor + \lfloor y \rfloor"]),
    (r"\left\lfloor\frac{n^2}{4}\right\rfloor", [r"\lfloor n/2 \rfloor \lceil n/2 \rceil", r"\frac{2n^2-1+(-1)^n}{8}"],
     [r"\frac{n^2}{4}", r"\left\lfloor\frac{n}{2}\right\rfloor^2"]),
    (r"\left\lceil\frac{n}{k}\right\rceil", [r"\left\lfloor\frac{n+k-1}{k}\right\rfloor"],
     [r"\lfloor n/k \rfloor + 1"]),
    (r"\lfloor\log_2 n\rfloor", [r"\lceil \log_2(n+1)\rceil - 1"], [r"\lceil \log_2 n\rceil - 1", r"\log_2 n"]),
    (r"\lfloor\sqrt{n}\rfloor", [r"\lceil \sqrt{n+1}\rceil - 1"], [r"\lceil \sqrt{n}\rceil - 1", r"\sqrt{n}"]),
    (r"\left\lfloor\frac{n}{100}\right\rfloor", [], [r"\left\lfloor\frac{n+1}{100}\right\rfloor"]),
    (r"n \bmod 2", [r"\frac{1-(-1)^n}{2}"], [r"\frac{1+(-1)^n}{2}", r"\frac{n}{2}"]),
    # an answer does not make the gold answer's letter a whole number
    ("n", [], [r"n+\sin(\pi n)+0\cdot(-1)^n", r"n\cos(2\pi n)+0\cdot(-1)^n",
               r"n+\sin n\pi+\lfloor n/2\rfloor-\lfloor n/2\rfloor"]),
    ("2^n", [], [r"2^n\cos(2\pi n)+0\cdot(-1)^n"]),
    (r"\frac{1}{n}", [], [r"\frac{\cos 2\pi n}{n}+0\cdot i^n"]),
    (r"\sin n", [], [r"\sin n+\sin n\pi+0\cdot(-1)^n"]),
    ("n:1", [], [r"n+\sin n\pi+0\cdot(-1)^n:1"]),
    ("1:n", [], [r"1:n+\sin n\pi+0\cdot(-1)^n"]),
    ("a:b", ["2a:2b"], ["b:a"]),
    (r"\cos n\pi", ["(-1)^n"], ["1", "-(-1)^n"]),
    (r"\frac{1+\cos n\pi}{2}", [r"\frac{1+(-1)^n}{2}"], [r"\frac{1-(-1)^n}{2}"]),
    (r"\sin 75^\circ", [r"\frac{\sqrt6+\sqrt2}{4}"], [r"\frac{\sqrt6-\sqrt2}{4}"]),
    (r"\tan 60^\circ", [r"\sqrt3"], [r"\frac{\sqrt3}{3}"]),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "right", "wrong"), WHOLE)
def test_identities_of_whole_numbers_hold_for_letters_that_stand_for_them(
    gold: str, right: list[str], wrong: list[str]
) -> None:
    assert verdicts(gold, right) == dict.fromkeys(right, True)
    assert verdicts(gold, wrong) == dict.fromkeys(wrong, False)


NOTATIONS = [
    ("-3", [r"\text{negative } 3", "negative 3", "minus 3"], [r"\text{negative } 4", r"\text{not negative } 3"]),
    ("e^2", [r"\exp(2)"], [r"\exp(3)", r"\exp(1) + e"]),
    (r"\arctan 2", [r"\text{arctg } 2", r"\tan^{-1} 2"], [r"\cot^{-1} 2"]),
    (r"\tan x", [r"\operatorname{tg} x", r"\mathrm{tg}\, x"], [r"\operatorname{ctg} x", "t g x"]),
    (r"\sinh^{-1} x", [r"\operatorname{arsinh} x", r"\ln(x+\sqrt{x^2+1})"], [r"\frac{1}{\sinh x}"]),
    ("(0,1)", ["]0,1[", r"\left]0,1\right["], ["[0,1[", "]0,1]", "]1,0["]),
    (r"(-\infty,1) \cup [2,\infty)", [r"]-\infty,1[ \cup [2,\infty[", r"]-\infty;1[\cup[2;+\infty["],
     [r"]-\infty,1] \cup [2,\infty["]),
    (r"(0,1) \cup (2,3)", [r"(0,1)\cup ]2,3[", r"]0,1[ \cup (2,3)", r"]0,1[\cup]2,3["],
     [r"(0,1)\cup [2,3[", r"[0,1[\cup ]2,3[", r"(0,1)\cap ]2,3["]),
    (r"(1+\sqrt2,3)", [r"](1+\sqrt2),3["], [r"](1-\sqrt2),3["]),
    (r"\varnothing", [r"\phi"], ["0", r"\theta"]),
    (r"\phi", [r"\phi"], [r"\varnothing"]),
    (r"\frac{1}{3}", ["0.333...", r"0.333\ldots", "0.(3)", r"33\frac13\%", r"1 \text{ in } 3", "2 out of 6"],
     ["0.33...", "0.334...", "0.(34)", r"33\%", "1 out of 4", "0.3(4)"]),
    (r"\frac{1}{6}", ["0.1(6)", "0.1666..."], ["0.1(5)", "0.166"]),
    (r"\frac{3}{11}", ["0.272727...", "0.2727..."], ["0.27..."]),
    (r"\frac{12}{55}", ["0.2181818..."], ["0.21818..."]),
    ("e", ["2.718281828...", r"2.718281828\ldots", "e"], [r"2.7\overline{1828}", "2.71818..."]),
    ("6", [], ["6 out of 8"]),
    (r"(-\infty,-1] \cup [4,\infty)", [r"x \notin (-1,4)"], [r"x \notin [-1,4]", r"x \in (-1,4)"]),
    (r"45.5^\circ", [r"45^\circ 30'", r"45^\circ 30' 0''", r"45^{\circ} 30^{\prime}"],
     [r"45^\circ 31'", r"44^\circ 90'"]),
    ("(2n-1)!!", [r"\frac{(2n)!}{2^n n!}"], ["2n-1", "(2n-1)!", "(2n)!!"]),
    ("42", ["42!!"], ["42!"]),
    ("(1, 2)", [r"\begin{cases} x=1 \\ y=2 \end{cases}", r"\begin{cases} y=2 \\ x=1 \end{cases}",
                r"\begin{aligned} x &= 1 \\ y &= 2 \end{aligned}",
                r"\left\{\begin{array}{l} x=1 \\ y=2 \end{array}\right."],
     [r"\begin{cases} x=2 \\ y=1 \end{cases}", r"\begin{cases} x=1 \end{cases}", r"\begin{cases} 1 & 2 \end{cases}"]),
    (r"\begin{cases} x^2 & x > 0 \\ 0 & x \le 0 \end{cases}",
     [r"\begin{cases} 0 & \text{if } x \le 0 \\ x^2, & \text{if } 0 < x \end{cases}"],
     [r"\begin{cases} x^2 & x \ge 0 \\ 0 & x < 0 \end{cases}", r"\begin{cases} x^2 & x > 0 \end{cases}", "x^2",
      r"\begin{cases} 0 & x > 0 \\ x^2 & x \le 0 \end{cases}"]),
    (r"\begin{cases} x & \text{if } x > 0 \\ 1 & \text{otherwise} \end{cases}",
     [r"\begin{cases} x, & x > 0 \\ 1, & \text{otherwise.} \end{cases}"],
     [r"\begin{cases} x, & \text{otherwise} \\ 1, & x > 0 \end{cases}"]),
    ("5",
     [r"5 \quad (\text{since } x > 0)", r"5\ \checkmark", r"\underbrace{5}_{\text{the answer}}", r"\overset{!}{=} 5",
           r"2x+1=11 \Rightarrow x=5"],
     [r"\underbrace{4}_{5}", r"x=5 \Rightarrow y=7", r"4 \quad (\text{since } 5 > 0)", r"5 \Rightarrow 6"]),
    (r"\frac12", [r"\frac12 \text{ (or 0.5)}", r"\frac12 (= 0.5)"],
     [r"\frac12 \text{ (or } \frac13)", r"\frac13 \text{ (or 0.5)}"]),
    (r"\sqrt5", [r"\sqrt5 (\approx 2.236)", r"\sqrt5 \text{ (about 2.24)}"],
     [r"\sqrt5 (\approx 3.5)", r"\sqrt6 (\approx 2.236)"]),
    (r"x \equiv 7 \pmod{11}", ["x = 7 + 11k", r"x \equiv 18 \pmod{11}", r"7 \pmod{11}", r"-4 \pmod{11}"],
     ["7", "18", r"x \equiv 8 \pmod{11}", r"x \equiv 7 \pmod{12}", "x = 7 + 12k", "x = 8 + 11k", "7 + 11k + j"]),
    (r"a_n = 3 \cdot 2^{n-1}", [r"a_n = \frac32 \cdot 2^n"], [r"a_n = 3 \cdot 2^n", r"a_n = \frac12 \cdot 3^n"]),
    ("ABD", ["A, B, D", r"\text{A, B and D}", "ABD", "D, A, B"], ["A, B", "A, B, C, D"]),
    ("A, B, D", ["ABD"], ["AB", "ABC"]),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "right", "wrong"), NOTATIONS)
def test_other_notations_of_the_same_answer_are_read(gold: str, right: list[str], wrong: list[str]) -> None:
    assert verdicts(gold, right) == dict.fromkeys(right, True)
    assert verdicts(gold, wrong) == dict.fromkeys(wrong, False)


_COUNTED = (
    "18个; 18\\text{个}; 18 元; 18\\text{ яблок}; 18 りんご; 18 사과; 18\\text{ élèves}; 18人; "
    "18 millionaires; 18 Äpfel; 18 zł; 18 Kč; １８個; 18 千米/小时; 18千克; 18 平方米; 18 км/ч; "
    "18\u0441м; 18 м; 18 см²; 18 м/с²; 18 조각; x = 18\\text{ 元}; 18 ✅; 18 e\u0301le\u0300ves"
)
_NOT_COUNTED = (
    "18万; 18千; 18亿; 18\\text{万}; 18萬; 18億; 18万元; 18 千元; 18百; 18十; 18兆; 18\u3007; 18半; "
    "18个半; 18分之一; 18折; 18成; 18打; 18又; 18以上; 18多; 18不是; 18的平方; 18平方; 18吗; 18或19; "
    "不18; 约18; 至少18; 18点5; 18 ダース; 18割; 18分の1; 18未満; 18\\text{ тысяч}; 18 тыс.; 18 млн; "
    "18 млрд; 18 миллионов; 18 половин; 18 дюжин; 18 или 19; 18 \u0441 половиной; не 18; около 18; "
    "18 в квадрате; 18\u0445; 18 \u0445²; 18 元²元; 18万²; 18 \u0445\u0443; 18к; 18 десятков; 18만; "
    "18천; 18 억; 18 만 원; 18 이상; 18 다스; 18 Millionen; 18 Billionen; 18 Prozent; 18 oder mehr; "
    "18 millones; 18 milhões; 18 mln; 18 Mio.; 18 Mrd; 18 Tausend; 18 mil; 18 triệu; 18 nghìn; "
    "18 tysięcy; 18 Dutzend; 18 ล้าน; 18 مليون; 18 लाख; 18 ❌; 18💯; 1😀8"
)
LANGUAGES = [  # gold, right answers, wrong answers
    ("18", _COUNTED.split("; "), _NOT_COUNTED.split("; ")),
    ("18元", ["18", "18元", r"18\text{ 元}"], ["18美元", "18万元", "19元", "元"]),
    ("东", ["东", r"\text{东}", "东。"], ["西", "东北", "18"]),
    ("星期一", ["星期一"], ["星期二", "星期"]),
    ("无解", ["无解"], ["有解", "0"]),
    ("是", ["是"], ["不是", "否"]),
    ("élève", ["élève", "e\u0301le\u0300ve", r"\text{Élève}"], ["eleve", "élèves"]),
    ("छात्र", ["छात्र"], ["छातर"]),
]


@pytest.mark.parametrize(("gold", "right", "wrong"), LANGUAGES)
def test_words_of_other_languages_count_things_and_their_number_words_make_other_numbers(
    gold: str, right: list[str], wrong: list[str]
) -> None:
    assert verdicts(gold, right) == dict.fromkeys(right, True)
    assert verdicts(gold, wrong) == dict.fromkeys(wrong, False)


@pytest.mark.parametrize("gold", ["18万", "3个半", "18 тысяч и"])
def test_a_number_that_is_not_understood_is_no_gold_answer_in_words(gold: str) -> None:
    assert verify(gold, r"\boxed{18}").status is Status.BAD_TASK


def test_an_answer_in_chinese_stands_behind_its_lead_in_and_a_denied_one_is_none() -> None:
    for right in ("答案是18。", "故答案为18。", "最终答案为 18", "因为9*2=18,所以答案是18个。", "答案\uff1a18"):
        assert verify("18", right).is_right, right
    wrongs = (
        "答案不是18。",
        "答案\uff1a不是18",
        "答案是18万。",
        "答案\uff1a18万",
        "答案是18或19。",
        "答案是18吗\uff1f是19。",
        "答案是-18",
    )
    for wrong in (*wrongs, "答案是-18", "答案是1/18", "Ответ: не 18", "Ответ: 18 тысяч"):
        assert not verify("18", wrong).is_right, wrong
