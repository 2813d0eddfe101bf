from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.triptych_models.model_doubles import place_network
from triptych_models.placed_files import PlacedFiles
from triptych_models.recognition import recognizer

MODULES = sorted(path.name for path in Path(recognizer.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_cached_answers_are_another_releases_when_any_code_of_a_recognition_differs(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_network(tmp_path / "models")
    files = PlacedFiles(tmp_path / "models")
    files.classifier.parent.mkdir(parents=True)
    files.classifier.write_bytes(b"heads")
    code = Path(shutil.copytree(Path(recognizer.__file__).parent, tmp_path / "recognition"))
    monkeypatch.setattr(recognizer, "__file__", str(code / "recognizer.py"))
    before = recognizer._fingerprint(files)
    with (code / module).open("a") as changed:
        changed.write("# another release\n")
    assert recognizer._fingerprint(files) != before
