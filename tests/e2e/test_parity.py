"""The served embedding against the library's own: Pillow + torchvision + torch in one process."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2

from export.backbones import load_default
from export.graphs import Embedder
from ops.local_server import LocalServer
from triptych import Client

REFERENCE = v2.Compose([v2.Resize(256, v2.InterpolationMode.BICUBIC), v2.CenterCrop(224)])

MIN_COSINE = 0.995
MEAN_COSINE = 0.999


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def resized(image: Image.Image, short_side_px: int) -> Image.Image:
    """Another shape each time: no two sides are a round ratio apart."""
    return image.resize((short_side_px * 4 // 3 + 1, short_side_px), Image.Resampling.LANCZOS)


def variants(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    for short_side_px in (40, 97, 224, 333, 480, 700, 900, 1199, 1799, 2400, 3000):
        yield f"jpeg {short_side_px} px", encode(resized(image, short_side_px), "JPEG", quality=90)
    portrait = resized(image, 901).rotate(90, expand=True)
    yield "jpeg portrait", encode(portrait, "JPEG", quality=90)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"exif {orientation}", encode(resized(image, 501), "JPEG", quality=90, exif=exif.tobytes())
    yield "exif 6 large", encode(resized(image, 1500), "JPEG", quality=90, exif=exif_of(6))
    yield "progressive", encode(resized(image, 1000), "JPEG", quality=85, progressive=True)
    yield "grey jpeg", encode(image.convert("L"), "JPEG", quality=90)
    yield "cmyk jpeg", encode(image.convert("CMYK"), "JPEG", quality=90)
    yield "png", encode(image, "PNG")
    yield "palette png", encode(image.quantize(64), "PNG")
    rgba = image.convert("RGBA")
    rgba.putalpha(Image.radial_gradient("L").resize(image.size).point(lambda value: 255 - value))
    yield "rgba png", encode(rgba, "PNG")
    yield "webp", encode(image, "WEBP", quality=85)
    yield "rgba webp", encode(rgba, "WEBP", lossless=True)
    yield "gif", encode(image, "GIF")
    yield "bmp", encode(image, "BMP")
    yield "tiff", encode(image, "TIFF")


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def reference_pixels(photo: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(photo)) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            rgba = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return np.asarray(REFERENCE(upright.convert("RGB")))


def test_served_embedding_equals_the_reference(either_server: LocalServer, photos: list[Path]) -> None:
    embedder = Embedder(load_default()).eval()
    cosines: dict[str, float] = {}
    with Client(either_server.grpc_target) as client, torch.inference_mode():
        for source in photos[:4]:
            with Image.open(source) as image:
                varied = list(variants(image.convert("RGB")))
            pixels = np.stack([reference_pixels(photo) for _, photo in varied])
            _, reference = embedder(torch.from_numpy(pixels))
            for (name, photo), expected in zip(varied, reference.numpy(), strict=True):
                cosines[f"{source.stem} {name}"] = float(client.recognize(photo).embedding @ expected)
    worst = min(cosines, key=lambda name: cosines[name])
    mean = float(np.mean(list(cosines.values())))
    print(f"\n{len(cosines)} photos: cosine worst {cosines[worst]:.5f} ({worst}), mean {mean:.5f}")
    assert len(cosines) == 4 * 32
    assert cosines[worst] >= MIN_COSINE, worst
    assert mean >= MEAN_COSINE
