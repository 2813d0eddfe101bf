"""File names with letters that are not ASCII, as the isolated Python of Triton's stubs has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from triptych_models.triton.log_lines import as_unicode, write

# What a stub's Python is: file names are ASCII, other letters are unpaired surrogates.
AS_A_STUB = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
PROGRAM = """
import sys
from pathlib import Path
from triptych_models.placed_files import native_name
from triptych_models.recognition.onnx_session import open_session
from triptych_models.recognition.answer_cache import AnswerCache
assert sys.getfilesystemencoding() == "ascii"
folder = Path(sys.argv[1])
assert native_name(folder).encode().decode() == ascii_name, ascii(native_name(folder))
assert open_session(folder / "model.onnx", 1).get_inputs()
AnswerCache(folder, 1, 8, bytes(32))
assert (folder / "answers/data.mdb").is_file()
"""


def test_libraries_find_files_of_any_name(tmp_path: Path, placed_onnx: Path) -> None:
    folder = tmp_path / "it's a shöp 鞋"
    folder.mkdir()
    (folder / "model.onnx").symlink_to(placed_onnx)
    program = PROGRAM.replace("ascii_name", ascii(str(folder)))
    environment = {**os.environ, **AS_A_STUB}
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def placed_onnx() -> Path:
    """The smallest placed network."""
    models = Path(__file__).resolve().parents[4] / "model_repository/models"
    return min(models.glob("*/1/model.onnx"), key=lambda file: file.stat().st_size)


def test_log_line_has_the_letters_of_a_file_name() -> None:
    lines: list[str] = []
    write(lines.append, "open /sh\udcc3\udcb6p/\udcff")
    assert lines == ["open /shöp/\ufffd"]
    assert as_unicode("plain ö") == "plain ö"


def test_caller_of_tritons_logger_has_a_plain_file_name() -> None:
    seen: list[str] = []
    write(lambda line: seen.append(sys._getframe(1).f_code.co_filename), "x")
    assert seen == ["triptych_models/triton/log_lines.py"]
