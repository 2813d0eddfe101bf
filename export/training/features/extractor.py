"""Extracts features as the server does: the serving package's decoder and the placed embedder, in this process.

Also makes the augmented views of a photo that heads are trained on. Caches nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

from export.arrays import Floats, Pixels
from export.errors import RepositoryError
from export.repository.layout import EMBEDDER_ONNX, TRANSFORM, refuse_earlier_layout
from export.repository.serving_package import IMPORTED, read_decoder
from export.verification.onnx_session import open_session
from triptych_models.recognition.preprocessing import Limits, preprocess
from triptych_models.recognition.transform import Transform

# Files of the serving package that determine the pixels: a change invalidates cached features.
PIXEL_SOURCES = (
    "recognition/photos/coded_pictures.py",
    "recognition/photos/colour_profiles.py",
    "recognition/photos/colour.py",
    "recognition/photos/decode_cost.py",
    "recognition/photos/geometry.py",
    "recognition/photos/isobmff.py",
    "recognition/photos/metadata.py",
    "recognition/photos/opening.py",
    "recognition/photos/raw_photos.py",
    "recognition/photos/signatures.py",
    "recognition/photos/still_files.py",
    "recognition/preprocessing.py",
    "recognition/transform.py",
)

# Minimum area of a random crop, as a share of the served square: half of a product is still that product.
MIN_VIEW_AREA = 0.4
MIRRORED = 1  # view 1 is the served square, mirrored; view 0 is the served square


@dataclass(frozen=True)
class FeatureExtractor:
    """Decoder and network of one repository.

    Attributes:
        digest: of everything that determines the features of a photo.
    """

    transform: Transform
    limits: Limits
    session: ort.InferenceSession
    digest: str

    def decode(self, photo: bytes) -> Pixels:
        """An encoded photo -> uint8[S,S,3].

        Raises:
            ValueError: the photo cannot be read; the message is that of the server.
        """
        return preprocess(photo, self.transform, self.limits)

    def embed(self, pixels: Pixels) -> Floats:
        """uint8[N,S,S,3] -> `features` float32[N,F]."""
        features: Floats = self.session.run(["features"], {"pixels": pixels})[0]
        return features

    @property
    def features(self) -> int:
        """F, the length of a feature vector."""
        outputs = {output.name: output.shape for output in self.session.get_outputs()}
        return int(outputs["features"][1])


def open_feature_extractor(repository: Path) -> FeatureExtractor:
    """Opens the placed embedder and its decoder.

    Raises:
        RepositoryError: nothing is placed, or the serving package there is another version.
    """
    refuse_earlier_layout(repository)
    try:
        network, transform_file = ((repository / name).read_bytes() for name in (EMBEDDER_ONNX, TRANSFORM))
        transform, limits = read_decoder(repository)
    except OSError as error:
        raise RepositoryError(
            f"No backbone is placed in {repository} ({error.filename}: {error.strerror}). Run `make build`, or name a "
            "repository filled by `triptych build`."
        ) from error
    session = open_session(network)
    code = [(IMPORTED / name).read_bytes() for name in PIXEL_SOURCES]
    parts = (network, transform_file, *code)
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
    return FeatureExtractor(transform, limits, session, digest.hexdigest())


def view_of(pixels: Pixels, digest: bytes, view: int) -> Pixels:
    """uint8[S,S,3]: the served square (view 0), mirrored (1), or a random crop, mirrored with probability 0.5.

    The photo's digest and the view number determine the crop, so that views can be cached.
    """
    if view == 0:
        return pixels
    if view == MIRRORED:
        return np.ascontiguousarray(pixels[:, ::-1])
    random = np.random.default_rng([*digest[:8], view])
    side_px = len(pixels)
    area, ratio = random.uniform(MIN_VIEW_AREA, 1.0), np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
    width_px = min(side_px, round(side_px * np.sqrt(area * ratio)))
    height_px = min(side_px, round(side_px * np.sqrt(area / ratio)))
    left, top = random.integers(side_px - width_px + 1), random.integers(side_px - height_px + 1)
    part = pixels[top : top + height_px, left : left + width_px]
    if random.random() < 0.5:
        part = np.ascontiguousarray(part[:, ::-1])
    return np.asarray(Image.fromarray(part).resize((side_px, side_px), Image.Resampling.BICUBIC))
