"""The page of the chart's values."""

from __future__ import annotations

import pytest

from docs.generation.helm_values import read_values, render_values
from docs.generation.pages import GenerationError

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


def test_page_shows_defaults_and_comments() -> None:
    page = render_values(read_values(VALUES))
    assert [line for line in page.splitlines() if line.startswith(("## ", "| `"))] == [
        "## image",
        "| `image` |  | The image. |",
        '| `image.tag` | `""` | Its tag; a \\| b. |',
        "| `image.secrets` | `[]` | Secrets. |",
        "## resources",
        "| `resources` |  | CPU. |",
        '| `resources.requests` | `{"cpu": "2"}` | What is reserved. |',
        "## spread",
        '| `spread` | `[{"zone": 1}]` | Spread. |',
        "## empty",
        "| `empty` | `{}` | No group of keys. |",
    ]


def test_key_without_a_comment_is_refused() -> None:
    with pytest.raises(GenerationError, match=r"line 3: image\.tag has no comment"):
        read_values("# The image.\nimage:\n  tag: 1\n")


def test_text_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(GenerationError, match="not a mapping"):
        read_values("- image\n")
