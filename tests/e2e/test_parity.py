"""The served answers against the library's own: Pillow + torchvision + torch in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from export.graphs.building import torch_predictor
from export.sources.loading import BackboneChoice, load_backbone
from export.verification.onnx_parity import LIMITS
from export.verification.photo_parity import MIN_TOP1_AGREEMENT, Predictor, compare, encode_all
from ops.server.local_server import LocalServer

MEAN_COSINE = 0.999


def test_served_answers_equal_the_reference_in_every_encoding(
    either_server: LocalServer, answers_of: Callable[[LocalServer], Predictor], photos: list[Path]
) -> None:
    backbone = load_backbone(BackboneChoice(), photos)
    parity = compare(encode_all(photos), backbone.transform, torch_predictor(backbone), answers_of(either_server))
    print(f"\n{parity}")
    assert parity.encodings == 38
    assert parity.cosine_min >= LIMITS["fp32"].min_photo_cosine, parity.worst
    assert parity.cosine_mean >= MEAN_COSINE
    assert parity.top1_agreement >= MIN_TOP1_AGREEMENT
    # Against the answers of other photos the same measure is far below the limit: it can fail.
    assert parity.unlike_cosine_mean < 0.5
