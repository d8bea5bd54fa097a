"""Runs hidden tests in the second sandbox and reports what became of each: a script for `python3 -I -S -c`.

It imports nothing of this project. pytest is imported before the repository can be, from a folder of its own; the
repository stands last on the path, so no module of it stands in the place of another. Plug-ins by entry point are off;
without `site` there are no `.pth` files and no `sitecustomize`.

The report is one line with the number that this run was given, on a descriptor that is closed to the tests' own
children; what tests print goes nowhere. Its reader takes nothing else for a report.
"""

import json
import os
import sys

RESULT = "report"


class Outcomes:
    """What became of every test: it passed only if its set-up, call and tear-down all did."""

    def __init__(self):
        self.outcomes = {}
        self.reasons = {}

    def pytest_runtest_logreport(self, report):
        """One phase of one test."""
        word = "xfail" if hasattr(report, "wasxfail") else report.outcome
        if self.outcomes.get(report.nodeid, "passed") == "passed":
            self.outcomes[report.nodeid] = word
        if word != "passed":
            self.reasons.setdefault(report.nodeid, str(report.longrepr)[-300:])

    def pytest_collectreport(self, report):
        """A file that cannot be collected has no tests."""
        if report.failed:
            self.reasons[report.nodeid] = str(report.longrepr)[-300:]


def main():
    """Read what to run from standard input; never returns."""
    told = json.load(sys.stdin)
    channel = os.dup(1)  # not inherited
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.dont_write_bytecode = True
    here = os.getcwd()  # noqa: PTH109 - pathlib is a slow import
    sys.path[:] = [*told["libraries"], *(path for path in sys.path if path not in ("", here))]
    import pytest

    sys.path.append(here)
    seen = Outcomes()
    arguments = [
        "-q",
        "--rootdir=.",
        "--import-mode=importlib",
        "-oaddopts=",
        "-pno:cacheprovider",
        "-pno:faulthandler",
    ]
    status = int(pytest.main([*arguments, *told["files"]], plugins=[seen]))
    report = {RESULT: told["number"], "status": status, "outcomes": seen.outcomes, "reasons": seen.reasons}
    text = memoryview(json.dumps(report).encode() + b"\n")
    while text:
        text = text[os.write(channel, text) :]
    os._exit(0)


if __name__ == "__main__":
    main()
