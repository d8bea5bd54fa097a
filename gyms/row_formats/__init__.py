"""Published forms of rows that gyms read without being told: see the files beside this one, one for each kind."""

from __future__ import annotations

from collections.abc import Mapping

from gyms.row_formats.answers import ANSWERS
from gyms.row_formats.chat import CHAT
from gyms.row_formats.code import CODE
from gyms.row_formats.form import RowFormat
from gyms.row_formats.instructions import INSTRUCTIONS

__all__ = ["FORMATS"]

FORMATS: Mapping[str, RowFormat] = {form.name: form for form in (*ANSWERS, *CODE, *INSTRUCTIONS, *CHAT)}
"""By the name that the setting `format` takes."""
