"""A verdict is read from exactly one place and of exactly one form."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyms.critic.verdict import Outcome, UnreadableVerdict, Verdict, VerdictForm, final_segment

FORM = VerdictForm(compared=("clarity", "tone"), mandatory=("praise",))
GOOD = '{"praise": "neither", "clarity": "A", "tone": "tie"}'
LABEL = VerdictForm(is_json=False)


def test_a_verdict_of_the_asked_form_is_read() -> None:
    found = FORM.parse(GOOD)
    assert found.better == {"clarity": Outcome.FIRST, "tone": Outcome.TIE}
    assert found.broken_by == {"praise": frozenset()}
    both = FORM.parse(GOOD.replace("neither", "both"))
    assert both.broken_by == {"praise": {Outcome.FIRST, Outcome.SECOND}}


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "   \n",
        "A",
        "[]",
        '"A"',
        "null",
        '{"clarity": "A", "tone": "tie"}',
        '{"praise": "neither", "clarity": "A", "tone": "tie", "extra": "A"}',
        '{"praise": "neither", "clarity": "A", "clarity": "B", "tone": "tie"}',
        '{"praise": "neither", "clairty": "A", "tone": "tie"}',
        '{"praise": "neither", "clarity": "C", "tone": "tie"}',
        '{"praise": "neither", "clarity": "a", "tone": "tie"}',
        '{"praise": "neither", "clarity": " A", "tone": "tie"}',
        '{"praise": "neither", "clarity": "11/10", "tone": "tie"}',
        '{"praise": "neither", "clarity": 1, "tone": "tie"}',
        '{"praise": "neither", "clarity": NaN, "tone": "tie"}',
        '{"praise": "neither", "clarity": Infinity, "tone": "tie"}',
        '{"praise": "false", "clarity": "A", "tone": "tie"}',
        '{"praise": false, "clarity": "A", "tone": "tie"}',
        '{"praise": null, "clarity": "A", "tone": "tie"}',
        '{"praise": ["A"], "clarity": "A", "tone": "tie"}',
        '{"praise": "tie", "clarity": "A", "tone": "tie"}',
        '{"praise": "neither", "clarity": "neither", "tone": "tie"}',
        f"Here is my verdict: {GOOD}",
        f"{GOOD} I hope this helps.",
        f"```json\n{GOOD}\n```",
        GOOD.replace("}", ",}"),
        f"{GOOD}\n{GOOD}",
        f'{{"verdict": {GOOD}}}',
        f"<think>easy</think><think>{GOOD}",
        f"<think>{GOOD}</think>",
        f"<think>{GOOD}",
        GOOD[:-1],
        "[" * 100_000,
        '{"a":' * 5000,
        GOOD + " " * 30_000,
        "[[A>>B]]",
    ],
)
def test_everything_else_is_unreadable(reply: str) -> None:
    with pytest.raises(UnreadableVerdict):
        FORM.parse(reply)


def test_only_what_follows_thinking_counts() -> None:
    fake = GOOD.replace('"A"', '"B"')
    assert FORM.parse(f"<think>The answer says {fake}</think>\n{GOOD}\n").better["clarity"] is Outcome.FIRST
    assert FORM.parse(f"{fake}</think>{GOOD}").better["clarity"] is Outcome.FIRST
    assert FORM.parse(f"[THINK]{fake}[/THINK]{GOOD}").better["clarity"] is Outcome.FIRST
    with pytest.raises(UnreadableVerdict, match="thinking never ends"):
        FORM.parse(f"[THINK]{GOOD}")
    assert final_segment(" A \n") == "A"


def test_a_label_verdict_is_the_label_and_nothing_else() -> None:
    assert LABEL.parse(" B\n").better == {"winner": Outcome.SECOND}
    assert LABEL.parse("tie").better == {"winner": Outcome.TIE}
    for reply in ("A.", "A B", "Answer A", "AB", "a", "", "A\nB", "[[A]]", '{"winner": "A"}'):
        with pytest.raises(UnreadableVerdict):
            LABEL.parse(reply)
    with pytest.raises(UnreadableVerdict):
        VerdictForm(is_json=False, allow_tie=False).parse("tie")


def test_the_schema_demands_what_the_reader_demands() -> None:
    schema = FORM.schema()
    assert schema is not None
    assert schema["required"] == ["praise", "clarity", "tone"] and schema["additionalProperties"] is False
    assert schema["properties"]["praise"]["enum"] == ["neither", "A", "B", "both"]
    assert schema["properties"]["clarity"]["enum"] == ["A", "B", "tie"]
    assert LABEL.schema() is None and LABEL.choices == ("A", "B", "tie")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_verdict_that_the_schema_allows_is_read_back(data: st.DataObject) -> None:
    form = VerdictForm(compared=("x", "y"), mandatory=("z",), max_reason_chars=20)
    schema = form.schema()
    assert schema is not None
    said = {
        key: data.draw(st.text(max_size=20)) if key == "reason" else data.draw(st.sampled_from(rule["enum"]))
        for key, rule in schema["properties"].items()
    }
    verdict = form.parse(json.dumps(said))
    assert json.loads(form.render(verdict)) == {**said, "reason": ""}


@settings(max_examples=100, deadline=None)
@given(st.text() | st.dictionaries(st.sampled_from(["praise", "clarity", "tone"]), st.text(max_size=2)).map(json.dumps))
def test_any_reply_is_a_verdict_or_unreadable(reply: str) -> None:
    for form in (FORM, LABEL):
        with contextlib.suppress(UnreadableVerdict):
            assert isinstance(form.parse(reply), Verdict)


@pytest.mark.parametrize(
    "given_", [{"compared": ("a", "a")}, {"compared": ()}, {"compared": ("reason",)}, {"labels": ("A", "A")},
               {"labels": ("A", "tie")}, {"is_json": False, "mandatory": ("m",)}, {"labels": ("", "B")}],
)  # fmt: skip
def test_a_form_that_cannot_be_read_is_refused(given_: dict) -> None:
    with pytest.raises(ValueError):
        VerdictForm(**given_)
