"""Files that are no photos are named in the sender's words, with what mends them."""

from __future__ import annotations

import re

import pytest

from tests.faults.photo_parts import encode, picture
from tests.unit.triptych_models.recognition.photos.photos_of_shops import other_files, raw_tiff
from triptych_models.errors import MAX_SENTENCE_CHARS, UnreadableImage
from triptych_models.recognition.preprocessing import Limits, preprocess
from triptych_models.recognition.transform import Transform

TRANSFORM = Transform(side_px=224, crop_ratio=0.875, interpolation="bicubic")
LIMITS = Limits(max_image_bytes=20_000_000, max_image_pixels=50_000_000)
OTHERS = other_files()


def sentence_of(content: bytes) -> str:
    with pytest.raises(UnreadableImage) as refusal:
        preprocess(content, TRANSFORM, LIMITS)
    return str(refusal.value)


@pytest.mark.parametrize("name", OTHERS)
def test_file_is_named_when_it_is_no_photo(name: str) -> None:
    content, words = OTHERS[name]
    sentence = sentence_of(content)
    assert words in sentence
    assert not re.search(r"b['\"]|\\x", sentence), "bytes and Python are not the sender's words"
    assert not sentence.endswith("Send the file's bytes unchanged."), "that mends nothing here"
    assert len(sentence) <= MAX_SENTENCE_CHARS


@pytest.mark.parametrize("content", [b"\x91\x03\x7f" * 40, b"\x00\x01", b"\xfe\x12\x00\x99"])
def test_unknown_bytes_are_counted_when_no_kind_matches(content: bytes) -> None:
    assert f"got {len(content)} bytes of no format that is known here" in sentence_of(content)


def test_tiff_of_an_editor_or_scanner_is_a_photo_when_it_names_a_camera_maker() -> None:
    """A camera's name, a description or layers do not make a RAW photo of a TIFF."""
    scanned = encode(picture(40, 30), "TIFF", tiffinfo={271: "NIKON CORPORATION", 270: "DNG of a shoe"})
    layered = raw_tiff(b"NIKON", (330, 4, 1, b"\x08\0\0\0"))
    for content in (scanned, layered):
        assert preprocess(content, TRANSFORM, LIMITS).shape == (224, 224, 3)
