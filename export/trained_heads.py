"""Trained heads onto the backbone they were trained on: what `place --heads` adds to a backbone, and what it refuses.

The weights themselves are in the trained folder: `export/training/trained.py` says which file holds what.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.backbones import AttributeHead, Backbone
from export.contract import CATEGORY
from export.errors import BackboneError
from export.sources import Choice
from export.training.heads import Head
from export.training.probe import refuse_other_backbone, refuse_other_scores
from export.training.trained import PROBE, Trained
from export.verification import open_session


def with_heads(backbone: Backbone, trained: Trained) -> Backbone:
    """The backbone with an output for each trained attribute.

    Raises:
        BackboneError: the heads take features of another length.
    """
    features = backbone.head.in_features
    for head in trained.heads.values():
        if head.weight.shape[1] != features:
            raise BackboneError(
                f"{trained.folder}: the head {head.attribute} takes {head.weight.shape[1]} features, {backbone.name} "
                f"has {features}. Place the backbone it was trained on, or train on this one."
            )
    heads = {name: AttributeHead(_linear(head), head.classes) for name, head in trained.heads.items()}
    return replace(backbone, heads=heads)


def _linear(head: Head) -> nn.Linear:
    classes, features = head.weight.shape
    linear = nn.Linear(features, classes).requires_grad_(False)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(head.weight))
        linear.bias.copy_(torch.from_numpy(head.bias))
    return linear


def check_trained(embedder_onnx: bytes, classifier_onnx: bytes, trained: Trained) -> None:
    """Raises VerificationError: the heads were trained on what another network sees, or say something else."""
    probe = trained.tensors(PROBE)
    embedder, classifier = open_session(embedder_onnx), open_session(classifier_onnx)
    refuse_other_backbone(probe, lambda pixels: embedder.run(["features"], {"pixels": pixels})[0])
    names = [output.name for output in classifier.get_outputs()]
    refuse_other_scores(
        probe, lambda features: dict(zip(names, classifier.run(names, {"features": features}), strict=True))
    )


def set_threshold(classifier: ModelConfig, trained: Trained) -> None:
    """Below the score that training chose for the categories, the metrics count an answer as an abstention."""
    threshold = trained.facts["attributes"].get(CATEGORY, {}).get("abstain_below")
    if threshold is not None:
        classifier.parameters["abstain_below"].string_value = f"{threshold:.4f}"


def facts_of(trained: Trained) -> dict[str, Any]:
    """For the manifest: what the heads are and what was measured of them."""
    facts = trained.facts
    kept = ("catalogue", "attributes", "photos", "versions")
    return {
        "training": {name: facts[name] for name in kept if name in facts},
        "accuracy": facts.get("metrics", {}),
    }


def tuned_choice(choice: Choice, trained: Trained) -> Choice:
    """The tuned network, where the backbone was tuned too."""
    if trained.backbone is None:
        return choice
    return replace(choice, model=trained.facts["backbone"]["name"], checkpoint=trained.backbone)
