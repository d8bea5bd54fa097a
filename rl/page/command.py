"""`k2rl report RUN [RUN ...]`: the page as a file, or served while a run goes on.

Exit status: 0 done; 2 a path is no run, a library is missing, or the file cannot be written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gyms.extras import check_installed

if TYPE_CHECKING:
    from rl.page.content import Source

__all__ = ["main"]

LIBRARIES = ("plotly", "numpy")
MAX_SAMPLES = 100_000

DESCRIPTION = """\
See a run: curves, samples and settings in one HTML file that needs no network, no server and no installation.

  Curves    held-out accuracy and reward with 95 % bands, lengths, truncation, entropy, log-probability gap, losses,
            faults and masks by cause, the judge's calibration, seconds by phase; several runs over each other
  Samples   siblings side by side with reward, advantage, status and components; filters, search, tokens coloured by
            surprise or advantage, a link to every sample
  Settings  what differs between the runs, and all settings

A run that is still going on, or was killed, shows what it has written so far."""

EPILOG = """\
examples:
  k2rl report runs/smollm2_cpu                             writes runs/smollm2_cpu/report.html
  k2rl report runs/seed0 runs/seed1 --output seeds.html    two runs laid over each other
  k2rl report runs/smollm2_cpu --follow                    serves the page on this machine, and refreshes it

Open the file in a browser, or send it to someone: all data are inside. docs/report.md explains what it shows."""


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.report") -> int:
    """Make the page; the exit status."""
    parser = _parser(prog)
    options = parser.parse_args(arguments)
    if options.port is not None and not options.follow:
        parser.error("--port needs --follow: a file is not served")
    paths = [Path(path) for path in options.run]
    try:
        check_installed(LIBRARIES, user="a report", extra="report")
        from rl.page.content import Source

        if options.output is not None and not options.output.parent.is_dir():  # before much is read
            raise ValueError(
                f"{options.output} cannot be written: there is no folder {options.output.parent}; make it, or name "
                "another --output"
            )
        source = Source(paths, max_samples=options.max_samples, say=_say, keeps=options.follow)
        if options.follow:
            return _follow(source, options.port or 0)
        _write(source, options.output or (paths[0] if len(paths) == 1 else Path()) / "report.html")
    except (ValueError, OSError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    return 0


def _write(source: Source, file: Path) -> None:
    from rl.page.html import page_of
    from rl.run_folder import write_atomically

    content = source.read()
    write_atomically(file, page_of(content))
    num, runs = sum(len(part.rows) for stored in content.samples for part in stored.parts), len(content.samples)
    print(f"{file}: {runs} run{'s' * (runs > 1)}, {num:,} samples, {file.stat().st_size / 1e6:.1f} MB")


def _follow(source: Source, port: int) -> int:
    from rl.page.follow import LivePage, server_of

    page = LivePage(source)
    page.newest()  # what is wrong with the folders is told before anything is served
    with server_of(page, port=port, say=_say) as server:
        print(f"http://{server.server_address[0]!s}:{server.server_address[1]}/   (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="+", metavar="RUN", help="a run folder (run_dir of `k2rl train`)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where to write (default: report.html in the run folder; of several runs in the current directory)",
    )
    where.add_argument("--follow", action="store_true", help="serve the page on 127.0.0.1 and refresh it every 5 s")
    parser.add_argument("--port", type=_port, metavar="N", help="of --follow (default: a free one)")
    parser.add_argument(
        "--max-samples",
        type=_positive,
        default=MAX_SAMPLES,
        metavar="N",
        help=f"most samples of one run in the page; of more, evenly spaced groups (default: {MAX_SAMPLES:,})",
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a port between 0 and 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
