"""Builds the ONNX files of a backbone and checks them against torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from export.arrays import Floats, Pixels
from export.errors import BackboneError
from export.graphs import onnx_export
from export.repository.configs import Configs
from export.repository.layout import CLASSIFIER_ONNX, EMBEDDER_ONNX, model_file
from export.sources.backbones import Backbone
from export.sources.onnx_trunk import OnnxTrunk
from export.verification.onnx_parity import LIMITS, Parity, check_tensors, sample_pixels, verify_parity
from export.verification.photo_parity import PhotoParity, compare, encode_all, predict_photos, require_parity


@dataclass(frozen=True)
class Graphs:
    """The embedder and the classifier as torch modules and as ONNX files.

    Attributes:
        programs: path inside the repository -> file for torch.export.load.
    """

    backbone: Backbone
    embedder: onnx_export.Embedder
    classifier: onnx_export.Classifier
    embedder_onnx: bytes
    classifier_onnx: bytes
    programs: dict[str, bytes]

    def files(self) -> dict[str, bytes]:
        """Path inside the repository -> content."""
        return {EMBEDDER_ONNX: self.embedder_onnx, CLASSIFIER_ONNX: self.classifier_onnx, **self.programs}


def torch_predictor(backbone: Backbone) -> Callable[[Pixels], tuple[Floats, Floats]]:
    """uint8[N,S,S,3] -> category_scores, embedding, computed by torch: the reference of all checks."""
    embedder, classifier = onnx_export.Embedder(backbone).eval(), onnx_export.Classifier(backbone).eval()

    def answer(pixels: Pixels) -> tuple[Floats, Floats]:
        with torch.inference_mode():
            features, embedding = embedder.forward(torch.from_numpy(pixels))
            scores = classifier.forward(features)[0]
        return scores.numpy(), embedding.numpy()

    return answer


def build_graphs(backbone: Backbone, with_programs: bool = False) -> Graphs:
    """Exports embedder and classifier; with `with_programs`, also torch programs for the profile `gpu-torch`.

    Raises:
        BackboneError: the network cannot be exported to ONNX with a dynamic batch.
    """
    embedder, classifier = onnx_export.Embedder(backbone).eval(), onnx_export.Classifier(backbone).eval()
    classifier_program, classifier_onnx = onnx_export.export_classifier(classifier)
    programs = {}
    if isinstance(backbone.trunk, OnnxTrunk):
        if with_programs:
            raise BackboneError(
                "The profile gpu-torch needs a torch network, got an ONNX file. Use the profile `gpu` instead."
            )
        embedder_onnx = backbone.trunk.embedder_onnx(backbone.preset)
    else:
        embedder_program, embedder_onnx = onnx_export.export_embedder(embedder, backbone.transform.side_px)
        if with_programs:
            programs = {
                model_file("embedder", "1/model.pt2"): onnx_export.program_bytes(embedder_program),
                model_file("classifier", "1/model.pt2"): onnx_export.program_bytes(classifier_program),
            }
    return Graphs(backbone, embedder, classifier, embedder_onnx, classifier_onnx, programs)


def check_graphs(built: Graphs, configs: Configs, photos: Sequence[Path], precision: str) -> Parity:
    """Checks the ONNX files against the configs and against torch.

    Raises:
        VerificationError: tensors differ from the configs, or outputs from those of torch.
    """
    check_tensors(built.embedder_onnx, configs["embedder"])
    check_tensors(built.classifier_onnx, configs["classifier"])
    pixels = sample_pixels(photos, built.backbone.transform, configs["embedder"].max_batch_size)
    return verify_parity(
        built.embedder, built.classifier, built.embedder_onnx, built.classifier_onnx, pixels, LIMITS[precision]
    )


def check_photos(built: Graphs, configs: Configs, photos: Sequence[Path], precision: str) -> PhotoParity:
    """Compares the serving package and ONNX Runtime with Pillow, torchvision and torch on encoded photos.

    Raises:
        VerificationError: a figure is below its limit.
    """
    answer = predict_photos(built.embedder_onnx, built.classifier_onnx, built.backbone.transform, configs)
    parity = compare(encode_all(photos), built.backbone.transform, torch_predictor(built.backbone), answer)
    require_parity(parity, LIMITS[precision].min_photo_cosine, built.backbone.is_random)
    return parity
