"""Hypothesis drives the pure decoder with damaged photos: it answers or refuses with a sentence, and nothing else."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.bounds import SENTENCES
from tests.faults.records import InputRow, keep
from tests.faults.still_file_parts import whole_files
from triptych_models.errors import InvalidPhoto
from triptych_models.recognition.preprocessing import Limits, preprocess
from triptych_models.recognition.transform import Transform

TRANSFORM = Transform(side_px=224, crop_ratio=0.875, interpolation="bicubic")
LIMITS = Limits(max_image_bytes=20_000_000, max_image_pixels=50_000_000)
EXAMPLES_A_TURN = 200


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A whole photo with bytes changed, put in, taken out; sometimes with another's end."""
    photo = bytearray(draw(st.sampled_from(list(whole_files().values()))))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(photo) - 1)))
        kind = draw(st.sampled_from(("set", "insert", "cut", "repeat")))
        piece = draw(st.binary(min_size=1, max_size=8))
        if kind == "set":
            photo[at : at + len(piece)] = piece
        elif kind == "insert":
            photo[at:at] = piece
        elif kind == "cut":
            del photo[at : at + draw(st.integers(1, 200))]
        else:
            photo[at:at] = photo[at : at + draw(st.integers(1, 200))]
    return bytes(photo)


def test_decoder_answers_or_refuses_whatever_it_is_given(request: pytest.FixtureRequest) -> None:
    fates = {"ANSWERED": 0, "REFUSED": 0, "SPEECHLESS": 0}

    @settings(max_examples=EXAMPLES_A_TURN, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(photo=damaged() | st.binary(max_size=300))
    def turn(photo: bytes) -> None:
        try:
            pixels = preprocess(photo, TRANSFORM, LIMITS)
        except InvalidPhoto as refusal:
            fates["REFUSED" if str(refusal).startswith(SENTENCES) else "SPEECHLESS"] += 1
        else:
            assert pixels.shape == (224, 224, 3)
            fates["ANSWERED"] += 1

    # Of the processor: the same number of photos beside other tests.
    end_s = time.process_time() + request.config.getoption("--fuzz-s")
    while True:
        turn()
        if time.process_time() >= end_s:
            break
    keep(
        InputRow(
            "photo: fuzz", "decoder", sum(fates.values()), fates["REFUSED"], fates["ANSWERED"], 0, None, None,
            "tests/faults/test_fuzz.py::test_decoder_answers_or_refuses_whatever_it_is_given",
        )
    )  # fmt: skip
    assert fates["SPEECHLESS"] == 0
    assert fates["ANSWERED"] > 10
    assert fates["REFUSED"] > 10
