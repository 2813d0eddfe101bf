"""Writes a shop's tables, and reads back what an import stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych import Client


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def stored(client: Client) -> dict[tuple[str, str], dict[str, Any]]:
    return {(photo.product_id, photo.photo_id): dict(photo.fields) for photo in client.catalogue.export()}
