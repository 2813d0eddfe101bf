"""HEIC and AVIF files that cost more than they look, or contradict themselves."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from tests.faults.photo_parts import Fate, HostilePhoto, picture
from tests.faults.still_file_parts import (
    Item,
    avif,
    avif_of_frames,
    box,
    full_box,
    grid_data,
    heic,
    heic_of_10_bits,
    overlay_data,
    still_file,
    tile,
    transparent,
    with_size,
)

LARGE = (8_000, 6_000)


def hostile_still_files() -> Iterator[HostilePhoto]:
    """Every case of the two formats beyond damaged bytes."""
    yield from _lying_sizes()
    yield from _compositions()
    yield from _odd_boxes()
    yield from _odd_but_whole()


def _lying_sizes() -> Iterator[HostilePhoto]:
    flat = Image.new("RGB", LARGE, (9, 99, 199))
    for name, large in (("heic", heic(flat)), ("avif", avif(flat))):
        yield HostilePhoto("still file", f"{name} of 48 megapixels that says 64 x 64", with_size(large, 64, 64))
        yield HostilePhoto("still file", f"{name} of 48 megapixels", large)
        yield HostilePhoto("still file", f"{name} of 48 megapixels that says no size", large.replace(b"ispe", b"skip"))
    part = tile()
    bare = Item(b"hvc1", part.data, (), properties=part.properties)
    grid = Item(b"grid", grid_data(2, 2, (128, 128)), (128, 128), [2] * 4)
    yield HostilePhoto("still file", "heic grid whose tile says no size", still_file([grid, bare]))
    for name, small in (("heic", heic(picture(160, 120))), ("avif", avif(picture(160, 120)))):
        for size in ((0, 0), (1, 1), (160, 121), (4_000, 3_000), (16_384, 16_384), (2**31 - 1, 2**31 - 1)):
            fate: Fate = "EITHER" if name == "avif" and size in ((160, 121), (1, 1), (4_000, 3_000)) else "REFUSED"
            yield HostilePhoto("still file", f"{name} of 160 x 120 that says {size}", with_size(small, *size), fate)
    alpha = heic(transparent(picture(64, 64)))
    at = alpha.rfind(b"ispe")
    huge = alpha[: at + 8] + bytes.fromhex("00004000 00004000") + alpha[at + 16 :]
    yield HostilePhoto("still file", "heic whose transparency says 16,384 x 16,384", huge)


def _compositions() -> Iterator[HostilePhoto]:
    """Pictures made of pictures, which may be named any number of times."""
    part = tile()
    for columns, rows in ((2, 2), (16, 12), (100, 80), (250, 250)):
        size = 64 * columns, 64 * rows
        grid = Item(b"grid", grid_data(columns, rows, size), size, [2] * (columns * rows))
        name = f"heic grid of {columns} x {rows} times one tile"
        yield HostilePhoto("still file", name, still_file([grid, part]), "ANSWERED" if columns < 20 else "REFUSED")
    whole = Item(b"grid", grid_data(30, 30, (512, 512)), (512, 512), [2] * 900)
    yield HostilePhoto("still file", "heic grid of 900 tiles that are as large as it", still_file([whole, tile(512)]))
    size = 64 * 30, 64 * 30
    inner = Item(b"grid", grid_data(30, 30, size), size, [3] * 900)
    outer = Item(b"grid", grid_data(30, 30, size), size, [2] * 900)
    yield HostilePhoto("still file", "heic grid of grids", still_file([outer, inner, part]))
    overlay = Item(b"iovl", overlay_data((64, 64), 60_000), (64, 64), [2] * 60_000)
    yield HostilePhoto("still file", "heic of 60,000 overlays", still_file([overlay, part]))
    circle = Item(b"grid", grid_data(1, 1, (64, 64)), (64, 64), [1])
    yield HostilePhoto("still file", "heic grid that is its own tile", still_file([circle, part]))
    chain = [Item(b"iden", b"", (64, 64), [number + 2]) for number in range(200)]
    yield HostilePhoto("still file", "heic of 200 identities", still_file([*chain, part]))
    few = Item(b"grid", grid_data(4, 4, (256, 256)), (256, 256), [2] * 3)
    yield HostilePhoto("still file", "heic grid of too few tiles", still_file([few, part]), "EITHER")
    none = Item(b"grid", grid_data(4, 4, (256, 256)), (256, 256))
    yield HostilePhoto("still file", "heic grid of no tiles", still_file([none, part]), "EITHER")


def _odd_boxes() -> Iterator[HostilePhoto]:
    whole = {"heic": heic(picture(64, 48)), "avif": avif(picture(64, 48))}
    for name, content in whole.items():
        ftyp_bytes = int.from_bytes(content[:4], "big")
        head, rest = content[:ftyp_bytes], content[ftyp_bytes:]
        many = box(b"free", b"") * 300_000
        yield HostilePhoto("still file", f"{name} behind 300,000 empty boxes", head + many + rest, "EITHER")
        yield HostilePhoto("still file", f"{name} of a first box alone", head)
        yield HostilePhoto("still file", f"{name} with an empty meta box", head + full_box(b"meta", b""))
        endless = head + b"\x00\x00\x00\x01meta" + b"\xff" * 8 + rest
        yield HostilePhoto("still file", f"{name} with a box of 2**64 bytes", endless)
        nested = b""
        for _ in range(2_000):
            nested = box(b"iprp", nested)
        yield HostilePhoto("still file", f"{name} of 2,000 nested boxes", head + full_box(b"meta", nested))
        for kind in (b"pitm", b"iloc", b"iinf", b"iprp", b"ipco", b"ipma", b"hdlr", b"mdat", b"colr", b"ispe", b"infe"):
            yield HostilePhoto("still file", f"{name} without {kind!r}", content.replace(kind, b"skip"), "EITHER")
    deep = bytearray(heic_of_10_bits(picture(64, 48)))
    at = deep.find(b"hvcC")
    deep[at + 4 + 17] &= 0xF8
    deep[at + 4 + 18] &= 0xF8
    yield HostilePhoto("still file", "heic of 10 bits that says 8", bytes(deep))
    video = box(b"ftyp", b"hevc\0\0\0\0hevc") + box(b"moov", bytes(400)) + box(b"mdat", bytes(4_000))
    yield HostilePhoto("still file", "heic sequence without a still picture", video)


def _odd_but_whole() -> Iterator[HostilePhoto]:
    image = picture(64, 48)
    exif = b"II*\x00\xff\xff\xff\x7f" + bytes(range(256))
    for name, content in {
        "heic with damaged exif": heic(image, exif=b"Exif\x00\x00" + exif),
        "heic with xmp of 2 MB": heic(image, xmp=b"<x:xmpmeta>" + bytes(2_000_000)),
        "avif with damaged xmp": avif(image, xmp=b"\xff" * 5_000),
        "avif of two frames": avif_of_frames(image, image.rotate(90)),
        "heic with a tail": heic(image) + b"<script>",
        "avif with a tail": avif(image) + b"<script>",
        "heic grey": heic(image.convert("L")),
        "avif grey": avif(image.convert("L")),
        "heic 1 x 1": heic(Image.new("RGB", (1, 1))),
        "avif 1 x 1": avif(Image.new("RGB", (1, 1))),
        "heic 1 x 3000": heic(Image.new("RGB", (1, 3_000))),
        "avif 3000 x 1": avif(Image.new("RGB", (3_000, 1))),
    }.items():
        yield HostilePhoto("still file", name, content, "ANSWERED")
