"""Matching: the hash, the order of evidence, the verdicts."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from triptych import InvalidInput, Match, MatchThresholds, UnreadableImage
from triptych._core.matching import decide
from triptych._images.hashes import differing_bits, perceptual_hash
from triptych.testing import FakeServer, fake_client


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    content = io.BytesIO()
    image.convert("RGB").save(content, "JPEG", quality=quality)
    return content.getvalue()


def near(similarity: float, phash: str | None = None, digest: str | None = None, name: str = "shoe") -> Match:
    return Match(1, name, name, similarity, {}, digest, phash)


def test_hash_is_that_of_imagehash(photos: list[Path]) -> None:
    """Its definition. Ours decodes a JPEG at a part of its size, which may turn few bits."""
    for photo in photos:
        image = Image.open(photo).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
        pixels = np.asarray(image, dtype=np.float64)
        place = np.arange(32)
        basis = np.cos(np.pi * place[:, None] * (2 * place[None, :] + 1) / 64)
        low = (basis @ pixels @ basis.T)[:8, :8]
        expected = np.packbits((low > np.median(low)).ravel()).tobytes().hex()
        assert differing_bits(perceptual_hash(photo.read_bytes()), expected) <= 2


def test_hash_stays_when_the_photo_is_scaled_and_compressed(photos: list[Path]) -> None:
    hashes = [perceptual_hash(photo.read_bytes()) for photo in photos]
    for photo, own in zip(photos, hashes, strict=True):
        image = Image.open(photo)
        for copy in (jpeg(image, 50), jpeg(image.resize((image.width // 2, image.height // 2)))):
            assert differing_bits(perceptual_hash(copy), own) <= MatchThresholds().phash_bits
    others = [differing_bits(one, other) for place, one in enumerate(hashes) for other in hashes[:place]]
    assert min(others) > MatchThresholds().phash_bits


def test_hash_is_refused_when_the_photo_is_none() -> None:
    with pytest.raises(UnreadableImage, match="cannot compute its perceptual hash"):
        perceptual_hash(b"no photo")


@pytest.mark.parametrize(
    ("candidates", "verdict", "method"),
    [
        ([], "no_match", "embedding"),
        ([near(0.99)], "match", "embedding"),
        ([near(0.9)], "uncertain", "embedding"),
        ([near(0.5)], "no_match", "embedding"),
        ([near(0.9, "ff00000000000001")], "match", "phash"),
        ([near(0.9, "00ffffffffffffff")], "uncertain", "embedding"),
        ([near(0.3, "ff00000000000000")], "no_match", "embedding"),
        ([near(0.99), near(0.6, digest="d", name="other")], "match", "digest"),
    ],
)
def test_first_evidence_decides(candidates: list[Match], verdict: str, method: str) -> None:
    decision = decide("d", "ff00000000000000", candidates, MatchThresholds())
    assert (decision.verdict, decision.method) == (verdict, method)
    assert bool(decision) is (verdict == "match")
    assert decision.reason


def test_thresholds_are_refused_when_they_cross() -> None:
    with pytest.raises(InvalidInput):
        MatchThresholds(match=0.5, uncertain=0.6)
    with pytest.raises(InvalidInput):
        MatchThresholds(phash_bits=65)


def test_copies_are_matched_through_the_client_without_a_key(photos: list[Path]) -> None:
    fake = FakeServer(catalogue_key="k")
    owner, shopper = fake_client(fake, catalogue_key="k"), fake_client(fake)
    for photo in photos[:3]:
        owner.catalogue.upsert(photo.stem, photo)
    same = shopper.match(photos[1])
    assert (same.verdict, same.method) == ("match", "digest")
    assert same.match is not None
    assert same.match.product_id == photos[1].stem
    copy = jpeg(Image.open(photos[1]), 60)
    fake.answer(copy, embedding=owner.embed(photos[1]).vector + 0.015 * np.random.default_rng(8).normal(size=1280))
    altered = shopper.match(copy)
    assert (altered.verdict, altered.method) == ("match", "phash")
    assert shopper.match(photos[1]).method == "digest"
    assert owner.match(b"nothing of the kind").verdict == "no_match"
    assert owner.match(product_id=photos[0].stem).verdict == "no_match"
    owner.catalogue.upsert("again", photos[0])
    assert owner.match(product_id="again").reason == f"the same file as photo {photos[0].stem} of {photos[0].stem}"
    # Its own hashes are the keepers' to read.
    assert shopper.match(product_id="again").method == "embedding"


def test_match_is_refused_when_given_both_or_neither() -> None:
    client = fake_client()
    with pytest.raises(InvalidInput, match="expected one of them"):
        client.match()
    with pytest.raises(InvalidInput, match="expected one of them"):
        client.match(b"a", product_id="a")


def test_mirrored_photo_has_another_hash(photos: list[Path]) -> None:
    """What the embedding is for."""
    mirrored = jpeg(ImageOps.mirror(Image.open(photos[0])))
    assert differing_bits(perceptual_hash(mirrored), perceptual_hash(photos[0].read_bytes())) > 10
