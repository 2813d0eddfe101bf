"""A backbone as files and as functions: what is served beside what it must equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from export import graphs
from export.backbones import Backbone
from export.contract import Configs
from export.errors import BackboneError
from export.layout import CLASSIFIER_ONNX, EMBEDDER_ONNX, model_file
from export.onnx_trunk import OnnxTrunk
from export.photo_parity import (
    Floats,
    PhotoParity,
    answer_photos,
    compare,
    encode_all,
    refuse_when_under,
)
from export.reference import Pixels
from export.verification import LIMITS, Parity, check_contract, sample_pixels, verify_parity

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
            EMBEDDER_ONNX: self.embedder_onnx,
            CLASSIFIER_ONNX: self.classifier_onnx,
            **self.programs,
        }


def torch_answer(backbone: Backbone) -> Callable[[Pixels], tuple[Floats, Floats]]:
    """uint8[N,S,S,3] -> category_scores, embedding, by torch: what every check compares with."""
    embedder, classifier = graphs.Embedder(backbone).eval(), graphs.Classifier(backbone).eval()

    def answer(pixels: Pixels) -> tuple[Floats, Floats]:
        with torch.inference_mode():
            features, embedding = embedder.forward(torch.from_numpy(pixels))
            scores = classifier.forward(features)[0]
        return scores.numpy(), embedding.numpy()

    return answer


def build_graphs(backbone: Backbone, with_programs: bool = False) -> Graphs:
    """Raises BackboneError: the network cannot be written as ONNX with a free batch."""
    embedder, classifier = graphs.Embedder(backbone).eval(), graphs.Classifier(backbone).eval()
    classifier_program = graphs.classifier_program(classifier)
    programs = {}
    if isinstance(backbone.trunk, OnnxTrunk):
        if with_programs:
            raise BackboneError("The profile gpu-torch runs torch; from an ONNX file place `gpu` instead.")
        embedder_onnx = backbone.trunk.embedder_onnx(backbone.preset)
    else:
        embedder_program = graphs.embedder_program(embedder, backbone.transform.side_px)
        embedder_onnx = graphs.embedder_onnx(embedder_program)
        if with_programs:
            programs = {
                model_file("embedder", "1/model.pt2"): graphs.program_bytes(embedder_program),
                model_file("classifier", "1/model.pt2"): graphs.program_bytes(classifier_program),
            }
    classifier_onnx = graphs.classifier_onnx(classifier_program, classifier.output_names)
    return Graphs(backbone, embedder, classifier, embedder_onnx, classifier_onnx, programs)


def check_graphs(built: Graphs, configs: Configs, photos: Sequence[Path], precision: str) -> Parity:
    """Raises VerificationError: not what the configs say, or not what torch computes."""
    check_contract(built.embedder_onnx, configs["embedder"])
    check_contract(built.classifier_onnx, configs["classifier"])
    pixels = sample_pixels(photos, built.backbone.transform, configs["embedder"].max_batch_size)
    return verify_parity(
        built.embedder, built.classifier, built.embedder_onnx, built.classifier_onnx, pixels, LIMITS[precision]
    )


def check_photos(built: Graphs, configs: Configs, photos: Sequence[Path], precision: str) -> PhotoParity:
    """Encoded photos through the serving package and ONNX Runtime, against Pillow, torchvision and torch.

    Raises:
        VerificationError: under a limit.
    """
    answer = answer_photos(built.embedder_onnx, built.classifier_onnx, built.backbone.transform, configs)
    parity = compare(encode_all(photos), built.backbone.transform, torch_answer(built.backbone), answer)
    refuse_when_under(parity, LIMITS[precision].min_photo_cosine, built.backbone.is_random)
    return parity


def convert(
    built: Graphs, settings: Settings, photos: Sequence[Path], console: Console
) -> tuple[Graphs, dict[str, Any] | None]:
    """The graphs in the precision asked for, and for int8 the figures of every candidate.

    Raises:
        QuantisationRefused: int8 does not pay here.
    """
    from export.precision import to_fp16
    from export.quantize import best_int8

    if settings.precision == "fp16":
        return replace(
            built, embedder_onnx=to_fp16(built.embedder_onnx), classifier_onnx=to_fp16(built.classifier_onnx)
        ), None
    embedder_onnx, figures = best_int8(
        built.embedder_onnx,
        built.classifier_onnx,
        built.backbone.transform,
        built.backbone.category_labels,
        settings.calibration or settings.photos,
        settings.evaluation or settings.photos,
        console,
    )
    return replace(built, embedder_onnx=embedder_onnx), figures
