"""Adds the heads of a trained folder to the backbone that they were trained on, and checks them (`build --heads`).

`export/training/heads/trained_folder.py` describes the files of a trained folder.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.errors import BackboneError
from export.repository.configs import CATEGORY
from export.sources.backbones import AttributeHead, Backbone
from export.sources.loading import BackboneChoice
from export.sources.network_cut import make_linear
from export.training.heads.probe import require_same_backbone, require_same_scores
from export.training.heads.trained_folder import PROBE, TrainedFolder
from export.verification.onnx_session import open_session


def with_heads(backbone: Backbone, trained: TrainedFolder) -> Backbone:
    """The backbone with one output per trained attribute.

    Raises:
        BackboneError: the heads need features of another length.
    """
    features = backbone.head.in_features
    for head in trained.heads.values():
        if head.weight.shape[1] != features:
            raise BackboneError(
                f"{trained.folder}: the head {head.attribute} needs {head.weight.shape[1]} features, {backbone.name} "
                f"has {features}. Place the backbone that the head was trained on, or train on this one."
            )
    heads = {
        name: AttributeHead(make_linear(head.weight, head.bias), head.classes) for name, head in trained.heads.items()
    }
    return replace(backbone, heads=heads)


def check_trained(embedder_onnx: bytes, classifier_onnx: bytes, trained: TrainedFolder) -> None:
    """Checks backbone and heads with the probe of the trained folder.

    Raises:
        VerificationError: the heads were trained on another backbone, or their scores differ from training.
    """
    probe = trained.tensors(PROBE)
    embedder, classifier = open_session(embedder_onnx), open_session(classifier_onnx)
    require_same_backbone(probe, lambda pixels: embedder.run(["features"], {"pixels": pixels})[0])
    names = [output.name for output in classifier.get_outputs()]
    require_same_scores(
        probe, lambda features: dict(zip(names, classifier.run(names, {"features": features}), strict=True))
    )


def set_threshold(classifier: ModelConfig, trained: TrainedFolder) -> None:
    """Sets the score below which metrics count a prediction as an abstention, as training chose it."""
    threshold = trained.facts["attributes"].get(CATEGORY, {}).get("abstain_below")
    if threshold is not None:
        classifier.parameters["abstain_below"].string_value = f"{threshold:.4f}"


def facts_of(trained: TrainedFolder) -> dict[str, Any]:
    """Facts for the manifest: origin of the heads and their measurements."""
    facts = trained.facts
    kept = ("catalogue", "attributes", "photos", "versions")
    return {
        "training": {name: facts[name] for name in kept if name in facts},
        "accuracy": facts.get("metrics", {}),
    }


def choose_backbone(choice: BackboneChoice, trained: TrainedFolder) -> BackboneChoice:
    """The choice, with the fine-tuned network if the trained folder has one."""
    if trained.backbone is None:
        return choice
    return replace(choice, model=trained.facts["backbone"]["name"], checkpoint=trained.backbone)
