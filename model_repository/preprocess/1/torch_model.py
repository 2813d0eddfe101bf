"""Preprocessing on a GPU, the `gpu-torch` profile's counterpart of `model.py`: JPEG decoded by nvJPEG, many at once.

What nvJPEG does not take (other formats, CMYK, damaged files) goes through `preprocessing` on the CPU, so limits,
refusals and geometry are the same. On a CPU device the JPEG path runs on torchvision's CPU decoder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional

import preprocessing

# What makes a photo of rows and columns upright, on the last two axes. Source: EXIF 2.32, tag 0x0112.
_TURNS = {
    Image.Transpose.FLIP_LEFT_RIGHT: lambda photo: photo.flip(-1),
    Image.Transpose.ROTATE_180: lambda photo: photo.flip(-1, -2),
    Image.Transpose.FLIP_TOP_BOTTOM: lambda photo: photo.flip(-2),
    Image.Transpose.TRANSPOSE: lambda photo: photo.transpose(-1, -2),
    Image.Transpose.ROTATE_270: lambda photo: photo.transpose(-1, -2).flip(-1),
    Image.Transpose.TRANSVERSE: lambda photo: photo.transpose(-1, -2).flip(-1, -2),
    Image.Transpose.ROTATE_90: lambda photo: photo.transpose(-1, -2).flip(-2),
}


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        is_gpu = args["model_instance_kind"] == "GPU"
        self.device = torch.device(f"cuda:{args['model_instance_device_id']}" if is_gpu else "cpu")
        transform = json.loads(Path(__file__).with_name("transform.json").read_text(encoding="utf-8"))
        self.transform = preprocessing.Transform(**transform)
        self.limits = preprocessing.Limits(
            *(int(config["parameters"][name]["string_value"]) for name in ("max_image_bytes", "max_image_pixels"))
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        photos = [
            pb_utils.get_input_tensor_by_name(request, "image").as_numpy().reshape(-1).tolist() for request in requests
        ]
        pixels = self._decode_jpegs([photo for group in photos for photo in group])
        return [self._respond(group, pixels) for group in photos]

    def _respond(self, photos: list[bytes], decoded: dict[bytes, torch.Tensor]) -> Any:
        rows = []
        for index, photo in enumerate(photos):
            try:
                rows.append(decoded[photo] if photo in decoded else self._decode_on_cpu(photo))
            except preprocessing.InvalidPhoto as refusal:
                which = f" (photo {index + 1} of {len(photos)} in this request)" if len(photos) > 1 else ""
                error = pb_utils.TritonError(f"{refusal}{which}", pb_utils.TritonError.INVALID_ARG)
                return pb_utils.InferenceResponse(error=error)
        tensor = pb_utils.Tensor.from_dlpack("pixels", torch.stack(rows))
        return pb_utils.InferenceResponse(output_tensors=[tensor])

    def _decode_on_cpu(self, photo: bytes) -> torch.Tensor:
        pixels = preprocessing.preprocess(photo, self.transform, self.limits)
        return torch.from_numpy(np.array(pixels)).to(self.device)

    def _decode_jpegs(self, photos: list[bytes]) -> dict[bytes, torch.Tensor]:
        """uint8[S,S,3] of each photo that the JPEG decoder takes."""
        headers = {}
        for photo in dict.fromkeys(photos):
            try:
                header = preprocessing.read_header(photo, self.limits)
            except preprocessing.InvalidPhoto:
                continue  # refused, with its sentence, when its turn comes
            if header.image_format in ("JPEG", "MPO") and header.mode in ("RGB", "L"):
                headers[photo] = header
        if not headers:
            return {}
        encoded = [torch.frombuffer(bytearray(photo), dtype=torch.uint8) for photo in headers]
        try:
            decoded = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=self.device)
        except RuntimeError:  # one damaged file fails the whole batch: each by itself, on the CPU
            return {}
        return {
            photo: self._square(image, header.transpose)
            for (photo, header), image in zip(headers.items(), decoded, strict=True)
        }

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
