"""What every section of a config is: frozen, strict, documented by the text under its fields. And kinds of number."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Fraction", "MomentDecay", "NonNegative", "Positive", "Seconds", "Section"]

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
MomentDecay = Annotated[float, Field(ge=0.0, lt=1.0)]  # at 1 AdamW's bias correction divides by zero
Seconds = Annotated[float, Field(gt=0.0)]


class Section(BaseModel):
    """Base of every section: frozen, unknown keys refused, the docstring under a field is its documentation."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        ser_json_inf_nan="constants",  # a gym's own args may hold inf; null would not come back as inf
    )
