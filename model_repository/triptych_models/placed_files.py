"""Paths of the files that `triptych build` puts beside the models: the only definition of their names."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


class NotPlaced(Exception):
    """A file that a model needs is missing."""


def native_name(file: Path) -> str:
    """The name of a file for a library in C++, which encodes it as UTF-8.

    Triton's stubs decode file names as ASCII, whatever the locale: other letters are unpaired surrogates there, which
    Python's own functions encode again and which such a library refuses.
    """
    return os.fsencode(file).decode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class PlacedFiles:
    """The files of one repository or release.

    Attributes:
        models: folder `models/`, with links resolved, so that a model finds the files of its own release.
    """

    models: Path

    @property
    def transform(self) -> Path:
        return self.models / "preprocess/1/transform.json"

    @property
    def embedder(self) -> Path:
        return self.models / "embedder/1/model.onnx"

    @property
    def classifier(self) -> Path:
        return self.models / "classifier/1/model.onnx"

    @property
    def reference(self) -> Path:
        """Reference mean embedding for drift; missing in some releases."""
        return self.models / "embedder/1/reference.json"

    @property
    def warm_up_photo(self) -> Path:
        """Four bytes of length and a photo: the format in which Triton reads warm-up data."""
        return self.models / "recognizer/warmup/photo"

    @property
    def feature_network(self) -> Path:
        """The network up to its last feature map."""
        return self.models / "activation_map/1/model.onnx"

    @property
    def heads(self) -> Path:
        return self.models / "activation_map/1/heads.npz"

    @property
    def explanation(self) -> Path:
        return self.models / "activation_map/1/explanation.json"

    def program(self, model: str) -> Path:
        """The torch program of a model in profile `gpu-torch`."""
        return self.models / model / "1/model.pt2"

    def labels(self, attribute: str = "category") -> Path:
        """Class names of an attribute, one in each line."""
        name = "labels.txt" if attribute == "category" else f"{attribute}_labels.txt"
        return self.models / "classifier" / name

    def read_labels(self, attribute: str = "category") -> list[str]:
        return self.labels(attribute).read_text(encoding="utf-8").splitlines()

    def require(self, *files: Path) -> None:
        """Checks that files exist.

        Raises:
            NotPlaced: one of them is missing.
        """
        for file in files:
            if not file.is_file():
                raise NotPlaced(f"{file} is missing. Place the weights with `make build`.")

    def fingerprint(self) -> str:
        """16 hex digits that identify the embeddings: a digest of the network and the photo transform."""
        digest = hashlib.sha256()
        for file in (self.embedder, self.transform):
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]
