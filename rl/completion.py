"""Shell completion: verbs, options, files, and the keys of a config. `k2rl completion bash` prints what a shell runs.

The library argcomplete completes what an argparse parser knows: no list to keep beside the parsers. A verb need not
know of it: its `main` is called, and its parser caught at the moment when it would parse. Positional arguments that
take `key.path=value` complete to the settings of the schema.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["complete", "is_asked", "main", "parser_of"]

SHELLS = ("bash", "zsh", "fish")
EPILOG = """\
examples:
  eval "$(k2rl completion bash)"                              for this shell; for all, put the line into ~/.bashrc
  eval "$(k2rl completion zsh)"                               the same in zsh, behind `autoload -Uz compinit; compinit`
  k2rl completion fish > ~/.config/fish/completions/k2rl.fish"""


class _Caught(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def is_asked() -> bool:
    """Whether a shell wants completions, and not the command."""
    return "_ARGCOMPLETE" in os.environ


def complete(verbs: Mapping[str, str]) -> None:
    """Write the completions of the shell's line and end the process.

    Args:
        verbs: modules by verb.
    """
    import argcomplete
    from argcomplete.lexers import split_line

    line, point = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"])
    *_, words, _ = split_line(line.encode()[:point].decode(errors="ignore"))
    if len(words) > 1 and words[1] in verbs:
        parser = parser_of(verbs[words[1]], prog=f"k2rl {words[1]}")
        os.environ["_ARGCOMPLETE"] = "2"  # the parser begins behind the verb
    else:
        parser = argparse.ArgumentParser(prog="k2rl")
        parser.add_argument("verb", choices=list(verbs))
    for action in parser._actions:
        if "key.path" in str(action.metavar):
            action.completer = _files_and_keys  # pyrefly: ignore[missing-attribute]  argcomplete's way
    argcomplete.autocomplete(parser, always_complete_options=False)


def parser_of(module: str, *, prog: str) -> argparse.ArgumentParser:
    """The parser that a verb's `main` makes."""

    def catch(self: argparse.ArgumentParser, *_: Any, **__: Any) -> Any:
        raise _Caught(self)

    before = argparse.ArgumentParser.parse_known_args
    main = importlib.import_module(module).main
    argparse.ArgumentParser.parse_known_args = catch
    try:
        main([], prog=prog)
    except _Caught as caught:
        return caught.parser
    finally:
        argparse.ArgumentParser.parse_known_args = before
    raise AssertionError(f"{module}.main parsed nothing")


def _files_and_keys(prefix: str, **_: Any) -> list[str]:
    from argcomplete.completers import FilesCompleter

    from configs.load import setting_names

    keys = [f"{name}=" for name in setting_names() if "*" not in name and name.startswith(prefix)]
    return [*FilesCompleter(("toml",))(prefix), *keys]


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rl.completion") -> int:
    """Print the code for a shell; the exit status."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Print what makes a shell complete verbs, options, files and settings of k2rl.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS)
    options = parser.parse_args(arguments)
    import argcomplete

    print(argcomplete.shellcode(["k2rl"], shell=options.shell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
