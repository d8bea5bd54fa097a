"""Sends the far side's code to a fresh interpreter as text, so that it needs no path to the project."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

__all__ = ["BOOTSTRAP", "bundle"]

_ORDER = (
    "values",
    "kernel",
    "seccomp",
    "landlock",
    "channel",
    "remote",
    "examiner",
    "notebook",
    "files",
    "runner",
    "root",
    "usage",
    "job",
    "supervisor",
    "zygote",
    "once",
)
_PACKAGE = "gyms.sandbox.inside"

BOOTSTRAP = """
import json, os, sys, types
fd, entry, argument = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with open(fd, 'rb') as pipe:
    sources = json.loads(pipe.read())
for name in ('gyms', 'gyms.sandbox', 'gyms.sandbox.inside'):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
sys.modules['gyms.sandbox'].inside = sys.modules['gyms.sandbox.inside']
inside = sys.modules['gyms.sandbox.inside']
inside.fork_handlers, inside.register_at_fork = [], os.register_at_fork
os.register_at_fork = lambda **handlers: inside.fork_handlers.append(handlers)
for name, source in sources:
    module = types.ModuleType('gyms.sandbox.inside.' + name)
    sys.modules[module.__name__] = module
    setattr(inside, name, module)
    exec(compile(source, '<' + name + '>', 'exec', dont_inherit=True), module.__dict__)
del sources, source, module, name, pipe
sys.modules['gyms.sandbox.inside.' + entry].main(argument)
"""
"""Program text for `python -c`: descriptor of the bundle, module to start, descriptor to hand it.

What modules want done at each fork is held back: `random` and `threading` touch 170 pages there, for every job twice.
The program's own process does it instead (`inside.job`).
"""


@lru_cache(maxsize=1)
def bundle() -> bytes:
    """The far side's modules as [[name, source], ...], in the order of their imports."""
    folder = Path(__file__).parent / "inside"
    return json.dumps([[name, (folder / f"{name}.py").read_text("utf-8")] for name in _ORDER]).encode()
