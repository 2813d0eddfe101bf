"""Model `preprocess` of profile `gpu-torch`: nvJPEG decodes the JPEGs of a batch at once.

Photos that nvJPEG cannot decode (other formats, CMYK, damaged files) go through `preprocessing` on the CPU, so limits,
errors and geometry are the same. On a CPU device torchvision's CPU decoder decodes the JPEGs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional

from triptych_models.errors import Code, InvalidPhoto
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.stages import DecodeMetrics
from triptych_models.recognition import preprocessing
from triptych_models.recognition.photos.colour import Conversion, to_srgb
from triptych_models.recognition.preprocessor import timing_of
from triptych_models.recognition.transform import read_transform
from triptych_models.triton.model import Arrays, Model, ModelConfig, Request, Server

# Turns a photo upright, on its last two axes (rows, columns). Source: EXIF 2.32, tag 0x0112.
_TURNS = {
    Image.Transpose.FLIP_LEFT_RIGHT: lambda photo: photo.flip(-1),
    Image.Transpose.ROTATE_180: lambda photo: photo.flip(-1, -2),
    Image.Transpose.FLIP_TOP_BOTTOM: lambda photo: photo.flip(-2),
    Image.Transpose.TRANSPOSE: lambda photo: photo.transpose(-1, -2),
    Image.Transpose.ROTATE_270: lambda photo: photo.transpose(-1, -2).flip(-1),
    Image.Transpose.TRANSVERSE: lambda photo: photo.transpose(-1, -2).flip(-1, -2),
    Image.Transpose.ROTATE_90: lambda photo: photo.transpose(-1, -2).flip(-2),
}


class TorchPreprocessor(Model):
    """Encoded photos -> the pixels that the network takes, on the device."""

    role = "preprocess"
    codes = (Code.IMAGE_UNREADABLE, Code.IMAGE_TOO_LARGE)

    def __init__(self, config: ModelConfig, metrics: MetricRegistry, server: Server) -> None:
        config.files.require(config.files.transform)
        self.device = torch.device(config.device)
        self.transform = read_transform(config.files.transform)
        self.limits = preprocessing.Limits.from_parameters(config.parameters)
        self._decode = DecodeMetrics(metrics)

    def answer_batch(self, requests: Sequence[Request]) -> list[Arrays | Exception]:
        """See `Model`. The JPEGs of all requests are decoded at once."""
        received_s = time.monotonic()
        groups = [request.array("image").reshape(-1).tolist() for request in requests]
        decoded = self._decode_jpegs([photo for group in groups for photo in group])
        answers: list[Arrays | Exception] = []
        for group in groups:
            try:
                answers.append({"pixels": self._stack(group, decoded), "timing": timing_of(len(group), received_s)})
            except InvalidPhoto as refusal:
                answers.append(refusal)
        self._decode.observe(time.monotonic() - received_s, sum(not isinstance(one, Exception) for one in answers))
        return answers

    def _stack(self, photos: list[bytes], decoded: dict[bytes, torch.Tensor]) -> torch.Tensor:
        rows = []
        for index, photo in enumerate(photos):
            try:
                rows.append(decoded[photo] if photo in decoded else self._decode_on_cpu(photo))
            except InvalidPhoto as refusal:
                refusal.add_position(index, len(photos))
                raise
        return torch.stack(rows)

    def _decode_on_cpu(self, photo: bytes) -> torch.Tensor:
        pixels = preprocessing.preprocess(photo, self.transform, self.limits)
        return torch.from_numpy(np.array(pixels)).to(self.device)

    def _decode_jpegs(self, photos: list[bytes]) -> dict[bytes, torch.Tensor]:
        """uint8[S,S,3] of each photo that the JPEG decoder supports."""
        headers: dict[bytes, preprocessing.Header] = {}
        for photo in dict.fromkeys(photos):
            try:
                header = preprocessing.read_header(photo, self.limits)
            except InvalidPhoto:
                continue  # `_decode_on_cpu` refuses it
            if header.image_format in ("JPEG", "MPO") and header.mode in ("RGB", "L"):
                headers[photo] = header
        if not headers:
            return {}
        encoded = [torch.frombuffer(bytearray(photo), dtype=torch.uint8) for photo in headers]
        try:
            decoded = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=self.device)
        except RuntimeError:  # one damaged file fails the batch: decode each photo alone, on the CPU
            return {}
        return {
            photo: self._to_srgb(self._square(image, header.transpose), header.conversion)
            for (photo, header), image in zip(headers.items(), decoded, strict=True)
        }

    def _to_srgb(self, square: torch.Tensor, conversion: Conversion | None) -> torch.Tensor:
        """uint8[S,S,3] in the photo's colours -> the same in sRGB; LittleCMS runs on the CPU."""
        if conversion is None:
            return square
        converted = to_srgb(Image.fromarray(square.cpu().numpy()), conversion)
        return torch.from_numpy(np.array(converted)).to(self.device)

    def _square(self, image: torch.Tensor, transpose: Image.Transpose | None) -> torch.Tensor:
        """uint8[3,H,W] as stored -> uint8[S,S,3], upright: torchvision's Resize and CenterCrop."""
        upright: torch.Tensor = _TURNS[transpose](image) if transpose is not None else image
        resized = functional.resize(
            upright,
            [self.transform.resize_px],
            interpolation=functional.InterpolationMode(self.transform.interpolation),
            antialias=True,
        )
        square: torch.Tensor = functional.center_crop(resized, [self.transform.side_px])
        return square.permute(1, 2, 0).contiguous()
