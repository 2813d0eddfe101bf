"""The table of values in the chart's README."""

from __future__ import annotations

import pytest

from ops.chart.values_table import BEGIN, END, read_values, render_table, replace_table
from ops.errors import OpsError

VALUES = """\
# The image.
image:
  # Its tag; a | b.
  tag: ""
  # Secrets.
  secrets: []
# CPU.
resources:
  # What is reserved.
  requests: {cpu: "2"}
# Spread.
spread:
  - {zone: 1}
# No group of keys.
empty: {}
"""


def test_table_shows_defaults_and_comments() -> None:
    assert render_table(read_values(VALUES)).splitlines()[2:] == [
        "| **`image`** | | The image. |",
        '| `image.tag` | `""` | Its tag; a \\| b. |',
        "| `image.secrets` | `[]` | Secrets. |",
        "| **`resources`** | | CPU. |",
        '| `resources.requests` | `{"cpu": "2"}` | What is reserved. |',
        '| `spread` | `[{"zone": 1}]` | Spread. |',
        "| `empty` | `{}` | No group of keys. |",
    ]


def test_key_without_a_comment_is_refused() -> None:
    with pytest.raises(OpsError, match=r"line 3: image\.tag has no comment"):
        read_values("# The image.\nimage:\n  tag: 1\n")


def test_table_goes_between_its_marks() -> None:
    assert replace_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(OpsError, match="no place for its table"):
        replace_table("no marks", "new")
