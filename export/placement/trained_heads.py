"""Adds the heads of a trained folder to the backbone that they were trained on, and checks them (`build --heads`).

`export/training/heads/trained_folder.py` describes the files of a trained folder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class TrainedHeads:
    """The heads of a trained folder, to be placed."""

    trained: TrainedFolder

    def choose_backbone(self, choice: BackboneChoice) -> BackboneChoice:
        """The choice, with the fine-tuned network if the trained folder has one."""
        if self.trained.backbone is None:
            return choice
        return replace(choice, model=self.trained.facts["backbone"]["name"], checkpoint=self.trained.backbone)

    def set_threshold(self, classifier: ModelConfig) -> None:
        """Sets the score below which metrics count a prediction as an abstention, as training chose it."""
        threshold = self.trained.facts["attributes"].get(CATEGORY, {}).get("abstain_below")
        if threshold is not None:
            classifier.parameters["abstain_below"].string_value = f"{threshold:.4f}"

    def add_to(self, backbone: Backbone) -> Backbone:
        """The backbone with one output per trained attribute.

        Raises:
            BackboneError: the heads need features of another length.
        """
        features = backbone.head.in_features
        heads = {}
        for name, head in self.trained.heads.items():
            if head.weight.shape[1] != features:
                raise BackboneError(
                    f"{self.trained.folder}: the head {name} needs {head.weight.shape[1]} features, {backbone.name} "
                    f"has {features}. Place the backbone that the head was trained on, or train on this one."
                )
            heads[name] = AttributeHead(make_linear(head.weight, head.bias), head.classes)
        return replace(backbone, heads=heads)

    def check(self, embedder_onnx: bytes, classifier_onnx: bytes) -> None:
        """Checks backbone and heads with the probe of the trained folder.

        Raises:
            VerificationError: the heads were trained on another backbone, or their scores differ from training.
        """
        probe = self.trained.tensors(PROBE)
        embedder, classifier = open_session(embedder_onnx), open_session(classifier_onnx)
        require_same_backbone(probe, lambda pixels: embedder.run(["features"], {"pixels": pixels})[0])
        names = [output.name for output in classifier.get_outputs()]
        scores = classifier.run(names, {"features": probe["features"]})
        require_same_scores(probe, dict(zip(names, scores, strict=True)))

    def facts(self) -> dict[str, Any]:
        """Facts for the manifest: origin of the heads and their measurements."""
        facts = self.trained.facts
        kept = ("catalogue", "attributes", "photos", "versions")
        return {
            "training": {name: facts[name] for name in kept if name in facts},
            "accuracy": facts.get("metrics", {}),
        }
