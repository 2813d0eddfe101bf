"""Servers with settings of a test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from ops.settings import DEFAULT_PROFILE, REPOSITORY, Settings


@pytest.fixture
def settings_with(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a server whose `recognizer`, of the cpu profile, has been changed; the rest is linked."""

    def make(change: Callable[[ModelConfig], None] = lambda _: None, *options: str) -> Settings:
        repository, placed = tmp_path / "repository", REPOSITORY / "models"
        recognizer = repository / "models/recognizer"
        profile = f"configs/{DEFAULT_PROFILE}.pbtxt"
        (recognizer / "configs").mkdir(parents=True)
        (repository / "triptych_models").symlink_to(REPOSITORY / "triptych_models")
        for model in placed.iterdir():
            # `searcher` takes as many photos at once as the unchanged one does.
            if model.name not in ("recognizer", "searcher") and model.is_dir():
                (repository / "models" / model.name).symlink_to(model)
        for entry in (placed / "recognizer").iterdir():
            if entry.name != "configs":
                (recognizer / entry.name).symlink_to(entry)
        config = text_format.Parse((placed / "recognizer" / profile).read_text(encoding="utf-8"), ModelConfig())
        change(config)
        (recognizer / profile).write_text(text_format.MessageToString(config), encoding="utf-8")
        return Settings(repository=repository, http_port=0, grpc_port=0, metrics_port=0, server_options=options)

    return make
