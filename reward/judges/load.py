"""From a judge's name on the command line of `reward.calibrate` to a judge.

    longer | first | random:SEED          baselines
    human:FILE                            labels of people, looked up
    openai:MODEL@URL                      an OpenAI-compatible endpoint
    NAME or NAME:ARGUMENT                 an entry point of the group `reward_judges`
    module:factory[:ARGUMENT]             any importable factory

A factory is called as `factory(argument, settings)` with a string and the `PromptSettings`, and returns a judge
(reward/judges/api.py). Entry-point names are read without importing; a name that two packages offer is refused. Loading
is a call into a plug-in, one of the places that catch broadly: what a factory raises becomes a ValueError.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from gyms.extras import check_installed
from reward.judges.api import Compares
from reward.judges.baselines import first, longer, random
from reward.judges.labels import HumanLabels, read_pairs
from reward.judges.prompted import PromptedJudge, PromptSettings

__all__ = ["ENTRY_POINT_GROUP", "judge_names", "load_judge"]

ENTRY_POINT_GROUP = "reward_judges"
"""Entry-point group in which packages offer judges."""
BUILTIN = ("longer", "first", "random", "human", "openai")


def load_judge(
    reference: str, settings: PromptSettings, *, key_env: str = "", endpoint: dict[str, Any] | None = None
) -> Compares:
    """The judge of a reference; ValueError where there is none or it cannot be built.

    Args:
        settings: how a language model is asked; other judges have no use for it.
        key_env: name of the environment variable with the endpoint's key.
        endpoint: further fields of `EndpointSettings`.
    """
    name, _, argument = reference.partition(":")
    if name in BUILTIN:
        return _builtin(name, argument, settings, key_env, endpoint or {})
    names = judge_names()
    if name in names:
        entry, *others = names[name]
        if others:
            offers = " and ".join(_offer(found) for found in names[name])
            raise ValueError(f"judge {reference!r}: several packages offer {name!r}: {offers}; use module:factory")
        return _built(reference, entry.load, argument, settings)
    module, _, rest = reference.partition(":")
    factory, _, argument = rest.partition(":")
    if not factory:
        known = ", ".join((*BUILTIN, *names))
        raise ValueError(f"there is no judge {reference!r}. Known judges: {known}; or give module:factory")
    return _built(reference, lambda: getattr(importlib.import_module(module), factory), argument, settings)


def judge_names() -> dict[str, tuple[EntryPoint, ...]]:
    """Judges that installed packages offer, by name, without importing any."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        found.setdefault(entry.name, []).append(entry)
    return {name: tuple(found[name]) for name in sorted(found)}


def _builtin(name: str, argument: str, settings: PromptSettings, key_env: str, endpoint: dict[str, Any]) -> Compares:
    if name == "human":
        if not argument:
            raise ValueError("judge 'human' needs a file of labels: human:FILE")
        return HumanLabels(read_pairs(Path(argument).expanduser()), name=f"human:{argument}")
    if name == "openai":
        model, _, url = argument.rpartition("@")
        if not model or not url:
            raise ValueError(f"judge 'openai' needs a model and an address, openai:MODEL@URL; got {argument!r}")
        check_installed(["httpx"], user=f"judge 'openai:{argument}'")
        from reward.judges.endpoint import Endpoint, EndpointSettings

        client = Endpoint(EndpointSettings(base_url=url, model=model, key_env=key_env, **endpoint))
        return PromptedJudge(client.generate, settings, name=client.name, close=client.aclose)
    if name == "random":
        if not argument.lstrip("-").isdecimal():
            raise ValueError(f"judge 'random' needs a seed: random:SEED; got {argument!r}")
        return random(int(argument))
    if argument:
        raise ValueError(f"judge {name!r} takes no argument, got {argument!r}")
    return longer() if name == "longer" else first()


def _built(reference: str, load: Callable[[], Any], argument: str, settings: PromptSettings) -> Compares:
    try:
        judge = load()(argument, settings)
    except (Exception, SystemExit) as error:
        cause = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise ValueError(f"judge {reference!r} cannot be loaded: {cause}") from error
    missing = [name for name in ("name", "cost", "compare") if not hasattr(judge, name)]
    if missing:
        raise ValueError(f"judge {reference!r}: the factory returned {judge!r:.80}, which has no {missing[0]!r}")
    return cast(Compares, judge)


def _offer(entry: EntryPoint) -> str:
    return f"{entry.dist.name if entry.dist else 'an unknown distribution'} ({entry.value})"
