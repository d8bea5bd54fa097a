"""The page of `k2rl report` in a real browser: headless Chromium draws it, and the document that results is read.

What is seen is named by the address, so every view can be asked for; `data-ready` says that it is drawn.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from gyms.api import Status
from rl.page.content import Source
from rl.page.follow import LivePage, server_of
from rl.page.html import page_of
from tests.integration.harness import PATIENCE
from tests.run_folders import CONFIG, evaluation, response, siblings, write_run, write_step

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("there is no Chromium to draw the page (Debian: apt-get install chromium)", allow_module_level=True)

CASES = [{"id": "1 + 2", "passed": False, "reason": "got 4"}, {"id": "2 + 2", "passed": True, "reason": ""}]
HOSTILE = "</script><img src=x onerror=\"document.body.dataset.hacked=1\"><script>document.title='hacked'</script>"


def dom(address: str, folder: Path, *options: str, seconds: int = 20, wanted: str = "data-ready=") -> str:
    """The title and the body that Chromium makes of an address, without its data; `seconds` are the page's own.

    They pass faster than a busy machine draws: where what is wanted is not there, the page gets ten times as many.
    """
    for given in (seconds, 10 * seconds, 100 * seconds):
        if wanted in (found := _dom(address, folder, *options, seconds=given)):
            break
    return found


def _dom(address: str, folder: Path, *options: str, seconds: int) -> str:
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server",
        f"--user-data-dir={folder / 'chromium'}", f"--virtual-time-budget={1000 * seconds}", *options,
        "--dump-dom", address,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    (title,) = re.findall(r"<title>.*?</title>", done.stdout)
    _, body = done.stdout.split("</head>")
    return title + body.split('<div id="blobs"')[0]


def texts(document: str, tag: str, of_class: str = "") -> list[str]:
    """The texts of all elements of a kind, tags inside them left out."""
    chosen = rf'<{tag}\b[^>]*class="[^"]*\b{of_class}\b[^"]*"[^>]*>' if of_class else rf"<{tag}\b[^>]*>"
    found = re.findall(rf"{chosen}(.*?)</{tag}>", document, re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]*>", "", text)) for text in found]


def ready(document: str) -> str:
    (view,) = re.findall(r'<body[^>]*data-ready="(\w+)"', document)
    return view


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> str:
    """Two runs: three steps with a tokenizer and hostile texts, and one step of another learning rate."""
    folder = tmp_path_factory.mktemp("runs")
    steps = [
        [
            siblings(
                2 * n,
                response(HOSTILE, token_ids=(5, 6, 7)),
                response("needle 4", 0.0, answer="4", cases=CASES, provenance={"rubric": "core@1"}),
            ),
            siblings(2 * n + 1, response("cut", status=Status.TRUNCATED), response("b"), gym="words", prompt=HOSTILE),
        ]
        for n in range(3)
    ]
    evals = [evaluation("after the warm-up", 0, 8), evaluation("after RL", 3, 16)]
    config = {**CONFIG, "model": {"source": "folder", "path": str(tiny_folder)}}
    write_run(folder / "first", steps, config=config, evals=evals, rows={1: {"learner/ptx_loss": 1.5}})
    write_run(folder / "<b>second", steps[:1], config={**CONFIG, "learner": {**CONFIG["learner"], "lr": 2e-3}})
    file = folder / "page.html"
    file.write_text(page_of(Source([folder / "first", folder / "<b>second"], max_samples=1000).read()))
    return file.as_uri()


def test_curves_are_drawn_for_all_runs(page, tmp_path):
    document = dom(page, tmp_path, wanted="data-drawn=")
    assert ready(document) == "curves"
    titles = texts(document, "h3")
    assert titles[0] == "Held-out accuracy: sums" and "Reward: words" in titles and "Faults and masks: first" in titles
    drawn = re.findall(r'data-drawn="(\d+)"', document)
    assert drawn and min(map(int, drawn)) > 0 and document.count('class="main-svg"') >= len(drawn)
    assert "80.0 %" in texts(document, "b") and "40.0 % before RL" in texts(document, "small")
    assert {"first", "<b>second"} <= set(texts(document, "h2"))


PHONE = """<!doctype html><title></title><iframe id="phone" src="{address}" style="width:390px;height:844px"></iframe>
<script>
setInterval(() => {{
    const shown = phone.contentDocument;
    if (!shown?.body?.dataset.ready) return;
    const {{scrollWidth, clientWidth}} = shown.scrollingElement;
    const {{color, backgroundColor}} = getComputedStyle(shown.body);
    document.title = [scrollWidth, clientWidth, color, backgroundColor].join(";");
}}, 100);
</script>"""
"""A window of a browser is at least 500 pixels wide, a frame in it is not."""


def brightness(color: str) -> float:
    """Relative luminance of `rgb(r, g, b)` (WCAG 2.2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("view", ["", "#samples?colour=logprob", "#settings"])
def test_a_phone_shows_all_of_the_width_and_text_is_read_by_day_and_by_night(view, page, tmp_path):
    frame = tmp_path / "frame.html"
    frame.write_text(PHONE.format(address=page + view))
    seen = []
    for scheme in (0, 1):  # Chromium's numbers of dark and light
        options = ("--allow-file-access-from-files", f"--blink-settings=preferredColorScheme={scheme}")
        document = dom(frame.as_uri(), tmp_path, *options, wanted=";")
        needed, there, text, ground = texts(document, "title")[0].split(";")
        assert int(needed) <= int(there) <= 390
        darker, brighter = sorted(map(brightness, (text, ground)))
        assert (brighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2.2, 1.4.3
        seen.append(brightness(ground))
    assert seen[0] < 0.1 < 0.9 < seen[1]


def test_what_a_model_wrote_stays_text(page, tmp_path):
    for view in ("#samples", "#samples?colour=logprob", "#samples?q=onerror"):
        document = dom(page + view, tmp_path)
        assert ready(document) == "samples"
        assert "<img" not in document and "data-hacked" not in document and "<title>hacked" not in document
        assert view.endswith("logprob") or texts(document, "pre").count(HOSTILE) >= 8  # four responses, four prompts
    assert HOSTILE[:30] not in document and document.count("<mark>onerror</mark>") >= 8


def test_filters_and_search_find_what_they_name_and_show_the_siblings_beside_it(page, tmp_path):
    document = dom(f"{page}#samples?status=truncated&run=first&from=1&order=first", tmp_path)
    assert "2 groups, 4 samples" in document
    assert re.findall(r"step (\d), draw (\d)", document) == [("1", "3"), ("2", "5")]
    assert [len(re.findall(rf'class="card {kind}', document)) for kind in (" ", "other")] == [2, 2]
    document = dom(f"{page}#samples?q=NEEDLE&high=0.5&gym=sums", tmp_path)
    assert "4 groups, 8 samples" in document and document.count("<mark>needle</mark>") == 4
    assert "No sample passes these filters." in dom(f"{page}#samples?q=nowhere", tmp_path)


def test_what_failed_of_a_verification_is_told_beside_how_it_was_verified(page, tmp_path):
    document = dom(f"{page}#sample/first/0/0/1", tmp_path)
    assert "1 of 2 passed" in texts(document, "summary") and "1 + 2: got 4" in texts(document, "li")
    assert "core@1" in texts(document, "dd")


def test_a_sample_has_an_address(page, tmp_path):
    document = dom(f"{page}#sample/first/2/5/1", tmp_path)
    (linked,) = re.findall(r'class="card[^"]*linked[^"]*" data-k="(\d)"', document)
    assert linked == "1" and "step 2, draw 5" in document and document.count('class="group"') == 1
    assert "This file does not hold that sample." in dom(f"{page}#sample/first/9/5/1", tmp_path)


def test_tokens_are_coloured_where_the_run_has_a_tokenizer(page, tmp_path):
    document = dom(f"{page}#samples?colour=logprob&run=first", tmp_path)
    tokens = re.findall(r'class="token" title="token (\d+), log p ([-\d.]+) \(p = ([\d.]+)\)"', document)
    assert ("5", "-0.25", "0.779") in tokens  # e^-0.25


def test_an_episode_folds_its_turns_and_its_observations_have_no_colour(tmp_path, tiny_folder):
    call = {"id": "call_0", "tool": "add", "arguments": {"a": 1, "b": 2}}
    played = response(
        "-> add\n<- 3",
        token_ids=(5, 6, 7),
        old_logprobs=[-0.5, -0.25, -0.125],
        segments=[{"num_tokens": n, "is_sampled": n == 2, "weight_version": 1} for n in (2, 1)],
        episode={
            "turns": [{"text": "", "calls": [call]}],
            "replies": [[{"role": "tool", "name": "add", "content": HOSTILE}]],
        },
    )
    config = {**CONFIG, "model": {"source": "folder", "path": str(tiny_folder)}}
    folder = write_run(tmp_path / "run", [[siblings(0, played)]], config=config)
    file = tmp_path / "page.html"
    file.write_text(page_of(Source([folder.path], max_samples=10).read()))
    document = dom(f"{file.as_uri()}#samples?colour=gap", tmp_path)
    assert 'add({"a": 1, "b": 2})' in texts(document, "pre", "call") and HOSTILE in texts(document, "pre", "observed")
    assert "<img" not in document and "1 turns" not in document and "1 turn" in texts(document, "summary")
    gaps = re.findall(r'class="token" title="token (\d+), log p -0.25 \(p = 0.779\), gap ([\d.]+)', document)
    assert gaps == [("5", "0.25"), ("6", "0")]  # of the sampled tokens alone
    assert 'title="token 7, an observation"' in document


def test_settings_that_differ_are_told_apart(page, tmp_path):
    document = dom(f"{page}#settings", tmp_path)
    differences, everything = re.findall(r"<tbody>(.*?)</tbody>", document, re.DOTALL)
    assert texts(differences, "td", "key") == ["num_steps", "model.source", "model.path", "learner.lr"]
    assert "0.002" in texts(differences, "td", "value") and "learner.tau" in texts(everything, "td", "key")


def test_a_followed_run_gains_its_new_steps_in_the_open_page(tmp_path):
    groups = [siblings(0, response("3"), response("4", 0.0))]
    folder = write_run(tmp_path / "run", [groups], is_done=False)

    class GoingOn(LivePage):
        """A run that does one step more between two looks at it."""

        num_looks = 0

        def newest(self) -> tuple[str, bytes]:
            self.num_looks += 1
            if self.num_looks in (2, 3):
                write_step(folder, self.num_looks - 1, groups)
            return super().newest()

    live = GoingOn(Source([folder.path], max_samples=100, keeps=True))
    with server_of(live, port=0, say=print) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            document = dom(f"http://127.0.0.1:{server.server_address[1]}/#samples", tmp_path, seconds=60)
        finally:
            server.shutdown()
            thread.join()
    assert live.num_looks > 3 and "3 groups, 6 samples" in document
    assert texts(document, "span") and '<span id="live" role="status">live</span>' in document
