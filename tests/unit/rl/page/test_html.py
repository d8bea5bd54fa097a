"""The page as a file: whole, still, and deaf to what a model wrote."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest

from rl.page.content import Source
from rl.page.html import page_of
from rl.page.stored import AVERAGED
from tests.run_folders import CONFIG, evaluation, response, siblings, write_run

HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture
def folder(tmp_path):
    groups = [siblings(0, response(HOSTILE), response("4", 0.0), prompt=HOSTILE, gym="<b>sums", task=HOSTILE)]
    return write_run(tmp_path / "<i>run", [groups] * 2, evals=[evaluation("after RL", 2, 9, gym="<b>sums")])


def page(folder, **changes):
    return page_of(Source([folder.path], max_samples=1000).read(), **changes)


def blob(text, name):
    (body,) = re.findall(rf'<script type="text/plain" id="{name}">([^<]*)</script>', text)
    return json.loads(gzip.decompress(base64.b64decode(body)))


def test_all_data_are_inside_and_nothing_is_fetched(folder):
    text = page(folder)
    facts = blob(text, "facts")
    assert [run["label"] for run in facts["runs"]] == ["<i>run"] and facts["runs"][0]["parts"] == [2, 2]
    assert blob(text, "index-0")["draw"] == [0, 0, 0, 0]
    assert blob(text, "texts-0-1")["samples"][0]["text"] == HOSTILE
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!["']?#)[a-z]+:""", text, re.IGNORECASE)
    assert "connect-src 'none'" in text and 'follow": 0' not in text


def test_no_text_of_a_model_or_a_gym_is_markup(folder):
    text = page(folder)
    assert "<img" not in text and "alert(" not in text and "<i>run" not in text and "<b>sums" not in text
    assert "&lt;i&gt;run" in text
    (nonce,) = re.findall(r"script-src 'nonce-([0-9a-f]{32})'", text)
    executed = [tag for tag in re.findall(r"<script[^>]*>", text) if "text/plain" not in tag]
    assert executed == [f'<script nonce="{nonce}">']


def test_a_card_is_told_which_evaluation_is_not_of_the_policy(tmp_path):
    evals = [evaluation("after RL", 1, 9), evaluation(AVERAGED, 1, 3)]
    facts = blob(page(write_run(tmp_path / "run", [[siblings(0, response("3"))]], evals=evals)), "facts")
    assert [row["is_policy"] for row in facts["runs"][0]["evals"]] == [True, False]


def test_the_same_folder_makes_the_same_page(folder):
    assert page(folder) == page(folder)
    assert page(folder, follow_seconds=5.0) != page(folder)


def test_a_page_that_is_served_may_ask_its_own_server_alone(folder):
    assert "connect-src 'self'" in page(folder, follow_seconds=5.0)


def test_more_samples_than_a_page_takes_are_thinned_and_it_says_so(tmp_path):
    steps = [[siblings(10 * s + n, response("1"), response("2", 0.0)) for n in range(10)] for s in range(4)]
    folder = write_run(tmp_path / "run", steps)
    content = Source([folder.path], max_samples=40).read()
    shown = [len(part.rows) for part in content.samples[0].parts]
    assert len(shown) == 4 and min(shown) >= 8 and sum(shown) == 38  # 0.9^7 = 0.478 of 80, whole groups of two
    (note,) = [note for note in content.facts["runs"][0]["notes"] if "samples are shown" in note]
    assert note.startswith("About 38 of 80 samples are shown")
    (length,) = [f for f in content.facts["figures"] if f["title"] == "Response length"]
    assert len(length["series"][0]["y"]) == 4  # curves count all of them


def test_without_a_tokenizer_the_page_says_why_no_token_is_coloured(folder):
    facts = blob(page(folder), "facts")
    assert any("no tokenizer.json" in note for note in facts["runs"][0]["notes"])
    assert 'id="tokens-0-0"' not in page(folder)


def test_settings_are_listed_by_their_full_keys(folder):
    settings = blob(page(folder), "facts")["runs"][0]["settings"]
    assert settings["gyms.0.budget"] == CONFIG["gyms"][0]["budget"] and settings["learner.baseline"] == "mean"
    assert settings["model.path"] is None


def test_settings_that_json_has_no_number_for_are_shown_as_text(tmp_path):
    gym = {"name": "sums", "args": {"most": float("inf"), "steps": [1, float("nan")]}}
    folder = write_run(tmp_path / "run", [[siblings(0, response("3"))]], config={**CONFIG, "gyms": [gym]})
    settings = blob(page(folder), "facts")["runs"][0]["settings"]
    assert settings["gyms.0.args.most"] == "Infinity" and settings["gyms.0.args.steps"] == [1, "NaN"]
