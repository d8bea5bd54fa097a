"""The section of a config that says which model plays somebody in an environment: the user of a simulated world."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from configs.base import Positive, Section
from configs.endpoint import EndpointConfig

__all__ = ["PersonaConfig"]


class PersonaConfig(Section):
    """The model that answers tools with a persona, such as the user of the gym `tools` with `user = "model"`."""

    source: Literal["policy", "endpoint"] = "policy"
    """`policy`: the served policy, with the weights of the step. `endpoint`: another model, or a frozen copy."""
    endpoint: EndpointConfig = EndpointConfig()
    """The other model. Only for `source = "endpoint"`."""
    max_tokens: Positive = 64
    """Most tokens of an answer, its thoughts among them: one that is cut off there is said as it is, and one cut off in
    its thoughts is silent (`rollout/silent_answers_frac`)."""
    temperature: Annotated[float, Field(ge=0.0, le=4.0)] = 1.0
    """Temperature of the answers; 0 is greedy."""

    @model_validator(mode="after")
    def _endpoint_is_named(self) -> PersonaConfig:
        if self.source == "endpoint" and not (self.endpoint.base_url and self.endpoint.model):
            raise ValueError(
                'persona.source = "endpoint" needs persona.endpoint.base_url and persona.endpoint.model; '
                'set both, or persona.source = "policy"'
            )
        return self
