"""However a photo is named, the real server sees the same picture."""

from __future__ import annotations

import http.server
import io
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc
from PIL import Image, ImageCms
from tritonclient.utils import InferenceServerException

from ops.server.local_server import LocalServer
from tests.faults.still_file_parts import heic
from tests.unit.triptych_models.recognition.photos.photos_of_shops import (
    PRIMARIES,
    encoded,
    other_files,
    rgb_profile,
)
from triptych import Client, ImageLike, InvalidInput

# Same picture, another container: the pixels are equal, so the embeddings are, but for how a batch is summed.
SAME = 1 - 1e-5
# Of a JPEG the server decodes a smaller version where that will do; of its pixels it gets all. Over 2 times the side
# asked for, 0.997 was the worst of 20 photos x 15 sizes (`DCT_MARGIN` of the serving package).
DCT = 0.99
# Another codec's losses at its best qualities.
COMPRESSED = 0.97
# 8 bits of a wider space are coarser than those of sRGB. Least of 20 photos: 0.9990, 0.9972, 0.9867; of ProPhoto RGB
# converted at full size and in floating point, 0.9946.
TWIN = {"Display P3": 0.995, "Adobe RGB": 0.995, "ProPhoto RGB": 0.98}
ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def client(server: LocalServer) -> Iterator[Client]:
    with Client(server.grpc_target, private_urls=True) as client:
        yield client


@pytest.fixture(scope="module")
def png(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    with Image.open(photos[0]) as image:
        image.convert("RGB").save(path)
    return path


@pytest.fixture(scope="module")
def site(png: Path) -> Iterator[str]:
    class _Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(png.parent)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def embed(client: Client, photo: ImageLike) -> npt.NDArray[np.float32]:
    return np.asarray(client.embed(photo).vector)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def test_embedding_is_the_same_however_the_photo_is_named(client: Client, png: Path, site: str) -> None:
    content = png.read_bytes()
    expected = embed(client, png)
    with Image.open(png) as image, png.open("rb") as file:
        kinds: dict[str, ImageLike] = {
            "bytes": content,
            "bytearray": bytearray(content),
            "memoryview": memoryview(content[::-1])[::-1],
            "str": str(png),
            "file": file,
            "url": f"{site}/photo.png",
            "image": image,
            "array": np.asarray(image),
        }
        cosines = {kind: float(embed(client, photo) @ expected) for kind, photo in kinds.items()}
    assert min(cosines.values()) > SAME, cosines


def test_embedding_tells_photos_apart(client: Client, photos: list[Path]) -> None:
    """Else the tests of this module could not fail."""
    assert float(embed(client, photos[0]) @ embed(client, photos[1])) < 0.9
    with Image.open(photos[0]) as image:
        assert float(embed(client, photos[0]) @ embed(client, image.rotate(90, expand=True))) < 0.97


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "P-transparent"])
def test_embedding_of_an_image_is_that_of_its_file_in_every_mode(client: Client, photos: list[Path], mode: str) -> None:
    with Image.open(photos[0]) as opened:
        image = opened.convert("RGB")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8 | 77)
    elif mode == "P-transparent":
        image = image.quantize(16)
        image.info["transparency"] = 3
    else:
        if "A" in mode:
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        image = image.convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert float(embed(client, saved(image, kind)) @ embed(client, image)) > SAME


@pytest.mark.parametrize("kind", ["AVIF", "HEIC", "HEIC in tiles"])
def test_embedding_of_a_phones_photo_is_that_of_its_twin(client: Client, photos: list[Path], kind: str) -> None:
    with Image.open(photos[0]) as opened:
        image = opened.convert("RGB")
    if kind == "AVIF":
        content = saved(image, "AVIF", quality=95, subsampling="4:4:4")
    else:
        content = heic(image, quality=95, chroma=444, **({"tile_size": 128} if "tiles" in kind else {}))
    assert float(embed(client, content) @ embed(client, saved(image, "PNG"))) > COMPRESSED


@pytest.mark.parametrize("name", PRIMARIES)
def test_embedding_of_wide_colours_is_that_of_the_srgb_twin(client: Client, photos: list[Path], name: str) -> None:
    profile = rgb_profile(name)
    wide = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), wide, "RGB", "RGB")
    cosines = []
    for photo in photos:
        with Image.open(photo) as opened:
            image = Image.fromarray(np.asarray(opened.convert("RGB")))
        twin = encoded(Image.fromarray(np.asarray(transform.apply(image))), "PNG", profile)
        cosines.append(float(embed(client, twin) @ embed(client, encoded(image, "PNG", None))))
    assert min(cosines) > TWIN[name], cosines


@pytest.mark.parametrize("name", other_files())
def test_file_that_is_no_photo_is_named_to_the_caller(server: LocalServer, name: str) -> None:
    """To a caller without our client, which refuses texts itself."""
    content, words = other_files()[name]
    image = tritonclient.grpc.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[content]], dtype=object))
    with (
        tritonclient.grpc.InferenceServerClient(server.grpc_target) as caller,
        pytest.raises(InferenceServerException, match="image_unreadable") as refusal,
    ):
        caller.infer("recognizer", [image])
    assert words in refusal.value.message()


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_embedding_of_an_opened_phone_photo_is_that_of_its_file(
    client: Client, photos: list[Path], orientation: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    with Image.open(photos[0]) as opened:
        large = opened.convert("RGB").resize((1400, 1000), Image.Resampling.BICUBIC)
    phone = saved(large, "JPEG", quality=95, exif=exif)
    expected = embed(client, phone)
    with Image.open(io.BytesIO(phone)) as image:
        assert float(embed(client, image) @ expected) > DCT
        assert float(embed(client, image.convert("RGB")) @ expected) > DCT
        assert float(embed(client, np.asarray(image)) @ expected) < DCT  # pixels alone lie on their side


def test_pixels_reach_the_server_when_uncompressed_they_would_be_too_large(client: Client, photos: list[Path]) -> None:
    with Image.open(photos[0]) as opened:
        small = opened.convert("RGB")
    large = small.resize((3000, 3000), Image.Resampling.BICUBIC)
    assert np.asarray(large).nbytes > 20_000_000
    assert float(embed(client, large) @ embed(client, saved(large, "PNG", compress_level=1))) > SAME


def test_wrong_kinds_fail_only_themselves_among_many(client: Client, png: Path, site: str) -> None:
    kinds = [png, np.zeros((3, 3, 3), np.float32), f"{site}/missing.png", f"{site}/photo.png", b""]
    items = list(client.embed_many(kinds, batch_size=5))  # type: ignore[arg-type]
    assert [type(item.error) for item in items] == [type(None), InvalidInput, InvalidInput, type(None), InvalidInput]
    assert "float32[3,3,3]" in str(items[1].error)
    assert "answered 404" in str(items[2].error)


def test_url_of_a_private_host_is_refused_by_a_client_that_was_not_told_otherwise(
    server: LocalServer, site: str
) -> None:
    with Client(server.grpc_target) as client, pytest.raises(InvalidInput, match="no public address"):
        client.embed(f"{site}/photo.png")
