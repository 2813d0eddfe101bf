"""How the server sees a photo: the serving package's decoder and the placed embedder, in this process.

Owns: from encoded bytes to features, and the further views of a photo that heads are trained on. Keeps nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image

from export.decoder import read_decoder
from export.errors import RepositoryError
from export.layout import EMBEDDER_ONNX, TRANSFORM, refuse_earlier_layout
from export.serving_package import IMPORTED
from triptych_models.recognition.preprocessing import Limits, preprocess
from triptych_models.recognition.transform import Transform

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Of the serving package: features that were kept are of other pixels when one of them changes.
DECIDES_PIXELS = ("recognition/preprocessing.py", "recognition/transform.py")

# A view is a part of the served square, from this share of its area on: half the product is still the product.
MIN_VIEW_AREA = 0.4
MIRRORED = 1  # the view that is the served square, mirrored; 0 is the served square itself


@dataclass(frozen=True)
class Eye:
    """What sees: decoder and network of one repository.

    Attributes:
        digest: of all that decides the features of a photo.
    """

    transform: Transform
    limits: Limits
    session: ort.InferenceSession
    digest: str

    def decode(self, photo: bytes) -> Pixels:
        """An encoded photo -> uint8[S,S,3].

        Raises:
            ValueError: it cannot be read; the sentence is the server's.
        """
        return preprocess(photo, self.transform, self.limits)

    def embed(self, pixels: Pixels) -> Floats:
        """uint8[N,S,S,3] -> `features` float32[N,F]."""
        features: Floats = self.session.run(["features"], {"pixels": pixels})[0]
        return features

    @property
    def features(self) -> int:
        """F."""
        outputs = {output.name: output.shape for output in self.session.get_outputs()}
        return int(outputs["features"][1])


def open_eye(repository: Path) -> Eye:
    """The placed embedder and its decoder.

    Raises:
        RepositoryError: nothing is placed there, or with another version of the serving package.
    """
    refuse_earlier_layout(repository)
    try:
        network, transform_file = ((repository / name).read_bytes() for name in (EMBEDDER_ONNX, TRANSFORM))
        transform, limits = read_decoder(repository)
    except OSError as error:
        raise RepositoryError(
            f"No backbone is placed in {repository} ({error.filename}: {error.strerror}). Run `make export`, or name a "
            "repository where `python -m export place` has placed one."
        ) from error
    options = ort.SessionOptions()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    code = [(IMPORTED / name).read_bytes() for name in DECIDES_PIXELS]
    parts = (network, transform_file, *code)
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts))
    return Eye(transform, limits, session, digest.hexdigest())


def view_of(pixels: Pixels, digest: bytes, view: int) -> Pixels:
    """uint8[S,S,3]: the square as served (0), mirrored (1), or a part of it, mirrored in half of the cases.

    Which part follows from the photo's digest and the number of the view, so that views can be cached.
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
