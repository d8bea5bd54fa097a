"""Open a gym with what it declares that it needs: in a test, in a notebook, for a command.

    gym = open_gym("my_gym.py", size=3)            # in a test: check_gym(open_gym("my_gym.py"))
    with opened("my_gym.py", {"size": 3}) as gym:  # where it should be known when the sandbox ends

It is handed what a scoring worker would hand it: a scratch folder of its own, and a sandbox where `needs.sandbox` says
so. There is no deadline and no confinement: a gym that hangs, hangs here, under its author's debugger. A gym with
`needs.judge` opens like any other, and no judge stands behind it: the contract asks its `score` only for what code can
check, and that is what it gives here, in `python -m gyms score` and in a held-out evaluation.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gyms.api import Gym, Services
from gyms.load import Keys, load_gym, resolve

__all__ = ["open_gym", "opened"]

CALLED = Keys(gym="gym", args="settings")
"""What messages call the arguments of `open_gym`."""


def open_gym(reference: str | Path, /, **settings: Any) -> Gym:
    """The gym behind a name, an import path or a file, ready to score; what it was given ends with it.

    Raises:
        ValueError: there is no such gym, it refuses the settings, or the sandbox that it needs does not work here.

    Example:
        gym = open_gym("arithmetic", max_operand=9)
        gym.score(gym.tasks("train")[0], "12").value
    """
    stack = ExitStack()
    with stack:
        gym = stack.enter_context(opened(str(reference), settings))
        weakref.finalize(gym, stack.pop_all().close)  # also when the interpreter ends
    return gym


@contextmanager
def opened(reference: str, settings: Mapping[str, Any], *, keys: Keys = CALLED) -> Iterator[Gym]:
    """The same for as long as the block runs.

    Args:
        keys: what messages call the reference and the settings.
    """
    with ExitStack() as stack:
        sandbox = None
        if resolve(reference, config_key=keys.gym).needs.sandbox:
            from gyms.sandbox import SandboxError, open_sandbox  # heavy: only where code is run

            try:
                sandbox = open_sandbox()
            except SandboxError as error:
                raise ValueError(f"{reference} needs a sandbox: {error}") from error
            stack.callback(sandbox.close)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gym-")))
        yield load_gym(reference, reference, settings, Services(sandbox=sandbox, scratch=scratch), keys)
