from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.errors import TrainingError
from export.training.heads.fitting import Head
from export.training.heads.trained_folder import HEADS, head_files, read_trained_folder, write_trained_folder

HEAD = Head(
    "brand",
    ("Acme", "Böhm & Söhne"),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    np.zeros(2, np.float32),
    1.5,
)
FACTS = {"attributes": {"brand": {"temperature": 1.5}}}


def write(folder: Path, replace: bool = False, note: str = "") -> None:
    write_trained_folder(folder, head_files({"brand": HEAD}), {**FACTS, "note": note}, replace)


def test_trained_folder_reads_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path / "shop")
    trained = read_trained_folder(tmp_path / "shop")
    head = trained.heads["brand"]
    assert (head.classes, head.temperature) == (HEAD.classes, 1.5)
    np.testing.assert_array_equal(head.weight, HEAD.weight)
    assert trained.backbone is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop"]


def test_trained_folder_is_not_replaced_unless_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "shop", note="old")
    with pytest.raises(TrainingError, match="--replace"):
        write(tmp_path / "shop", note="new")
    assert read_trained_folder(tmp_path / "shop").facts["note"] == "old"
    write(tmp_path / "shop", replace=True, note="new")
    assert read_trained_folder(tmp_path / "shop").facts["note"] == "new"


def test_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/to-mother.txt").write_text("dear")
    with pytest.raises(TrainingError, match="not a trained folder"):
        write(tmp_path / "letters", replace=True)
    assert (tmp_path / "letters/to-mother.txt").read_text() == "dear"


def test_trained_folder_comes_back_when_the_process_died_between_two_renames(tmp_path: Path) -> None:
    write(tmp_path / "shop", note="old")
    (tmp_path / "shop").rename(tmp_path / ".shop-x1y2-old")
    assert read_trained_folder(tmp_path / "shop").facts["note"] == "old"


def test_trained_folder_is_refused_when_a_file_was_changed(tmp_path: Path) -> None:
    write(tmp_path / "shop")
    content = bytearray((tmp_path / "shop" / HEADS).read_bytes())
    content[-1] ^= 1
    (tmp_path / "shop" / HEADS).write_bytes(content)
    with pytest.raises(TrainingError, match="was changed"):
        read_trained_folder(tmp_path / "shop")


def test_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is not a trained folder"):
        read_trained_folder(tmp_path)
