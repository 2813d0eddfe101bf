"""A backbone as files and as functions: what is served beside what it must equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from export import graphs, verification
from export.backbones import Backbone
from export.contract import Configs
from export.errors import BackboneError
from export.photo_parity import (
    Answer,
    Floats,
    PhotoParity,
    compare,
    encode_all,
    load_preprocessing,
    refuse_when_under,
)
from export.reference import Pixels
from export.verification import LIMITS, Parity, check_contract, open_session, sample_pixels, verify_parity

if TYPE_CHECKING:
    from export.place import Settings


@dataclass(frozen=True)
class Graphs:
    """The networks in torch and as ONNX.

    Attributes:
        programs: file name inside the repository -> what torch.export.load reads.
    """

    backbone: Backbone
    embedder: graphs.Embedder
    classifier: graphs.Classifier
    embedder_onnx: bytes
    classifier_onnx: bytes
    programs: dict[str, bytes]

    def files(self) -> dict[str, bytes]:
        """Path inside the repository -> content."""
        return {
            "embedder/1/model.onnx": self.embedder_onnx,
            "classifier/1/model.onnx": self.classifier_onnx,
            **self.programs,
        }

    def reference(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """uint8[N,S,S,3] -> category_scores, embedding, by torch."""
        with torch.inference_mode():
            features, embedding = self.embedder(torch.from_numpy(pixels))
            scores, _ = self.classifier(features)
        return scores.numpy(), embedding.numpy()


def build_graphs(backbone: Backbone, with_programs: bool = False) -> Graphs:
    """Raises BackboneError: the network cannot be written as ONNX with a free batch."""
    embedder, classifier = graphs.Embedder(backbone).eval(), graphs.Classifier(backbone).eval()
    classifier_program = graphs.classifier_program(classifier)
    programs = {}
    if hasattr(backbone.trunk, "embedder_onnx"):
        if with_programs:
            raise BackboneError("The profile gpu-torch runs torch; from an ONNX file place `gpu` instead.")
        embedder_onnx = backbone.trunk.embedder_onnx(backbone.preset)
    else:
        embedder_program = graphs.embedder_program(embedder, backbone.transform.side_px)
        embedder_onnx = graphs.embedder_onnx(embedder_program)
        if with_programs:
            programs = {
                "embedder/1/model.pt2": graphs.program_bytes(embedder_program),
                "classifier/1/model.pt2": graphs.program_bytes(classifier_program),
            }
    return Graphs(
        backbone, embedder, classifier, embedder_onnx, graphs.classifier_onnx(classifier_program), programs
    )


def check_graphs(built: Graphs, configs: Configs, photos: Sequence[Path], precision: str) -> Parity:
    """Raises VerificationError: not what the configs say, or not what torch computes."""
    check_contract(built.embedder_onnx, configs["embedder"])
    check_contract(built.classifier_onnx, configs["classifier"])
    pixels = sample_pixels(photos, built.backbone.transform, configs["embedder"].max_batch_size)
    return verify_parity(
        built.embedder, built.classifier, built.embedder_onnx, built.classifier_onnx, pixels, LIMITS[precision]
    )


def check_photos(
    built: Graphs, decoder: Path, configs: Configs, photos: Sequence[Path], precision: str
) -> PhotoParity:
    """Encoded photos through the repository's decoder and ONNX Runtime, against Pillow, torchvision and torch.

    Args:
        decoder: the repository whose `preprocessing.py` will be served.

    Raises:
        VerificationError: under a limit.
    """
    answer = answer_with(built, decoder, configs)
    parity = compare(encode_all(photos), built.backbone.transform, built.reference, answer)
    refuse_when_under(parity, LIMITS[precision].min_photo_cosine)
    return parity


def answer_with(built: Graphs, decoder: Path, configs: Configs) -> Answer:
    """What will be served, in this process."""
    preprocessing = load_preprocessing(decoder)
    transform = preprocessing.Transform(
        built.backbone.transform.side_px, built.backbone.transform.crop_ratio, built.backbone.transform.interpolation
    )
    limits = preprocessing.Limits(
        **{name: int(value.string_value) for name, value in configs["preprocess"].parameters.items()}
    )
    embedder, classifier = open_session(built.embedder_onnx), open_session(built.classifier_onnx)

    def answer(contents: Sequence[bytes]) -> tuple[Floats, Floats]:
        pixels = preprocessing.preprocess_all(contents, transform, limits)
        features, embedding = embedder.run(["features", "embedding"], {"pixels": pixels})
        (scores,) = classifier.run(["category_scores"], {"features": features})
        return scores, embedding

    return answer
