"""Brings the client's docstrings and signatures into the form that the reference shows; griffe loads this module."""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)


class PublicForm(griffe.Extension):
    """Examples become code; parameters that begin with an underscore are left out."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Google's `Example:` is a title to griffe; its section of code is `Examples:`."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub(r"\1Examples:", obj.docstring.value)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Private parameters are for tests of the client itself."""
        for name in [each.name for each in func.parameters if each.name.startswith("_")]:
            del func.parameters[name]
