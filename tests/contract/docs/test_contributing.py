"""CONTRIBUTING's recipes name files, folders and make targets that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATHS = [path for path in re.findall(r"`([\w./-]+/[\w./-]*)`", TEXT) if path not in ("1/model.py", "cli/")]
# What a reader of a recipe touches, besides its test.
MOST_FILES = 7


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_named_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_paths_are_found() -> None:
    assert len(PATHS) > 30


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([\w-]+)`", TEXT))))
def test_named_target_exists(target: str) -> None:
    assert re.search(
        rf"^(?:[\w-]+ )*{target}(?: [\w-]+)*:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_recipes_touch_few_files() -> None:
    recipes = re.split(r"^\*\*", TEXT.partition("## Recipes")[2].partition("## Releases")[0], flags=re.MULTILINE)[1:]
    assert len(recipes) == 11
    for recipe in recipes:
        files = set(re.findall(r"`[\w./<>-]+/[\w./<>-]*`", re.split(r"Tests?:", recipe)[0]))
        assert len(files) <= MOST_FILES, recipe
