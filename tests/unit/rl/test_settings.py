"""The config's defaults and the rooms' own defaults are the same facts."""

from __future__ import annotations

from configs.schema import QuantConfig
from rollout.quant.scheme import QuantScheme


def test_the_configs_default_scheme_is_the_number_formats_default() -> None:
    config = QuantConfig()
    assert QuantScheme(group_size=config.group_size, ignore=config.ignore) == QuantScheme()
