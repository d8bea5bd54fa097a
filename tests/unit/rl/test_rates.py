"""Files of success rates."""

from __future__ import annotations

import pytest

from rl.rates import Known, check_problems, in_range, problem_of, read_rates
from tests.unit.rl.listed import entry, task


def test_later_lines_win_and_other_gyms_are_left_out(tmp_path):
    file = tmp_path / "rates.jsonl"
    file.write_text(
        '{"gym": "a", "task": "t", "rate": 0.5, "num_samples": 8}\n\n{"gym": "b", "task": "t", "rate": 0}\n'
        '{"gym": "a", "task": "t", "rate": 1}\n'
    )
    assert read_rates(file, ["a"]) == Known(rates={"a": {"t": 1.0}})
    assert read_rates(file, ["a"]).digest != read_rates(file, ["a", "b"]).digest
    with pytest.raises(ValueError, match="has no task of c; was it made for other gyms"):
        read_rates(file, ["c"])


def test_budgets_are_a_quantile_of_the_lengths_of_right_responses(tmp_path):
    file = tmp_path / "rates.jsonl"
    file.write_text(
        '{"gym": "a", "task": "t", "rate": 0.5, "right_lengths": [9, 3, 5, 7]}\n'
        '{"gym": "a", "task": "u", "rate": 0, "right_lengths": []}\n'
    )
    assert read_rates(file, ["a"]).budgets(0.75) == {"a": {"t": 7}}
    assert read_rates(file, ["a"]).budgets(0.01) == {"a": {"t": 3}}


def test_a_later_line_without_right_answers_takes_the_lengths_of_an_earlier_one_away(tmp_path):
    file = tmp_path / "rates.jsonl"
    file.write_text(
        '{"gym": "a", "task": "t", "rate": 1, "right_lengths": [9], "problem": "b"}\n'
        '{"gym": "a", "task": "t", "rate": 0, "right_lengths": []}\n'
    )
    known = read_rates(file, ["a"])
    assert (known.rates, known.budgets(0.75), known.problems) == ({"a": {"t": 0.0}}, {"a": {}}, {"a": {}})


def test_rates_of_another_version_of_the_tasks_are_refused_and_those_that_do_not_say_are_taken(tmp_path):
    old, new = (entry("a", [task("t0", "2 + 2?"), task("t1", text)]) for text in ("3 + 3?", "4 + 4?"))
    file = tmp_path / "rates.jsonl"
    lines = [
        f'{{"gym": "{name}", "task": "{t.id}", "rate": 0.5, "problem": "{problem_of(old.gym, t)}"}}\n'
        for name in ("a", "b")
        for t in old.gym.tasks("train")
    ]
    file.write_text("".join(lines))
    known = read_rates(file, ["a"])
    check_problems(known, [old])
    with pytest.raises(ValueError, match=r"rates: 1 tasks of gym 'a' ask something else .*\('t1' is one\)"):
        check_problems(known, [new])
    file.write_text(f'{"".join(lines)}{{"gym": "a", "task": "t1", "rate": 0.5}}\n')
    check_problems(read_rates(file, ["a"]), [new])


LENGTHS = '{"gym": "a", "task": "t", "rate": 1, "right_lengths": [0.5]}'


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[]", LENGTHS, '{"gym": "a", "task": "t"}', '{"gym": "a", "task": "t", "rate": 1.5}', '{"rate": 1}'),
        '{"gym": "a", "task": "t", "rate": 1, "problem": 3}',
    ],
)
def test_a_line_that_is_none_of_rates_is_refused_with_its_number(tmp_path, line):
    file = tmp_path / "rates.jsonl"
    file.write_text(f'{{"gym": "a", "task": "t", "rate": 0.5}}\n{line}\n')
    with pytest.raises(ValueError, match=r"rollout.prompts.rates = .*, line 2.* wanted"):
        read_rates(file, ["a"])
    with pytest.raises(ValueError, match="cannot be read"):
        read_rates(tmp_path / "none", ["a"])


def test_the_range_holds_its_ends_and_what_is_unknown():
    rates = {"a": {"t": 0.25}}
    found = [in_range(rates, "a", task("t"), low=low, high=high) for low, high in ((0, 0.25), (0.25, 1), (0.3, 1))]
    assert found == [True, True, False]
    assert in_range(rates, "a", task("u"), low=0.3, high=0.4) and in_range(rates, "b", task("t"), low=1, high=1)
