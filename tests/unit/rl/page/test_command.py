"""`k2rl report`: a file, or one line that says what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from rl.page.command import main
from tests.run_folders import response, siblings, write_run

ROOT = Path(__file__).parents[4]


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", [[siblings(0, response("3"), response("4", 0.0))]])


def refused(capsys, *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == "" and line.startswith("python -m rl.report: ")
    return line


def test_one_run_gets_its_page_into_its_folder(folder, capsys):
    assert main([str(folder.path)]) == 0
    assert (folder.path / "report.html").read_text().startswith("<!doctype html>")
    assert capsys.readouterr().out.startswith(f"{folder.path / 'report.html'}: 1 run, 2 samples, ")


def test_several_runs_get_a_page_where_one_is_or_where_it_is_wanted(folder, tmp_path, capsys, monkeypatch):
    other = write_run(tmp_path / "other", [])
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main([str(folder.path), str(other.path)]) == 0
    assert (tmp_path / "here" / "report.html").is_file()
    assert main([str(folder.path), str(other.path), "--output", "two.html"]) == 0
    assert "two.html: 2 runs, 2 samples" in capsys.readouterr().out


def test_what_is_wrong_is_one_line(folder, tmp_path, capsys):
    assert f"{tmp_path / 'none'} is no folder" in refused(capsys, tmp_path / "none")
    assert "is given twice" in refused(capsys, folder.path, folder.path)
    assert f"there is no folder {tmp_path / 'none'}" in refused(capsys, folder.path, "--output", tmp_path / "none/x")


@pytest.mark.parametrize(
    "arguments",
    [[], ["a", "--max-samples", "0"], ["a", "--follow", "--output", "x"], ["a", "--port", "1"], ["a", "--port", "x"]],
)
def test_wrong_use_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2 and "usage: python -m rl.report" in capsys.readouterr().err


def test_without_the_library_one_line_says_how_to_install_it(folder):
    code = (
        "import sys\nfrom gyms.extras import EXTRAS\nsys.modules.update(dict.fromkeys(EXTRAS))\n"
        f"from rl.verbs import main\nsys.exit(main(['report', {str(folder.path)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("k2rl report: a report needs plotly, numpy, not installed here: pip install")
    assert done.stderr.count("\n") == 1 and "[report]" in done.stderr


def test_the_module_is_a_door_and_a_followed_run_is_served_until_ctrl_c(folder):
    command = [sys.executable, "-m", "rl.report", str(folder.path), "--follow"]
    server = subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, env={**os.environ, "no_proxy": "*"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    assert server.stdout is not None
    address = server.stdout.readline().split()[0]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=60) as answer:
        assert answer.read(15) == b"<!doctype html>"
    server.send_signal(signal.SIGINT)
    assert server.wait(60) == 0
    server.stdout.close()
