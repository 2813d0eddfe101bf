"""How well embeddings find photos of the same class: recall@k and mAP, plain, whitened, mirrored and cropped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.embeddings import find_photos
from loadtest.errors import LoadTestError
from triptych import Client, TriptychError
from triptych_models.search.predicted_filter import VOTERS, choose, vote

Floats = npt.NDArray[np.float32]

# Share of each side that a crop keeps: the middle, and the four corners.
CROP = 0.8
WHITENED_DIMS = (128, 256, 512)
RESAMPLES = 1000
SEED = 8


@dataclass(frozen=True)
class Labelled:
    """Photos and their labels, the names of the folders they lie in; categories, the names of the folders above."""

    files: list[Path]
    labels: npt.NDArray[np.str_]
    categories: npt.NDArray[np.str_]

    @classmethod
    def read(cls, folder: Path) -> Labelled:
        """Raises:
        LoadTestError: no photos there.
        """
        files = find_photos([folder])
        labels, above = ([file.parents[up].name for file in files] for up in (0, 1))
        return cls(files, np.array(labels), np.array(above))


@dataclass(frozen=True)
class Score:
    """Of all queries against the gallery.

    Attributes:
        recall_1: share of queries whose nearest photo has their label.
        recall_10: share with one among the ten nearest.
        mean_average_precision: over the whole ranking.
        gain_1: recall@1 above the plain embedding's, and the middle 95 % of resampled queries.
        passes: forward passes a photo.
    """

    name: str
    recall_1: float
    recall_10: float
    mean_average_precision: float
    gain_1: tuple[float, float, float]
    passes: int


def _cropped(image: Image.Image, horizontal: float, vertical: float) -> Image.Image:
    width, height = round(image.width * CROP), round(image.height * CROP)
    left, top = round(horizontal * (image.width - width)), round(vertical * (image.height - height))
    return image.crop((left, top, left + width, top + height))


# The photo, its mirror image, five crops. An option is the mean of some of them.
VIEWS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "plain": lambda image: image,
    "mirrored": ImageOps.mirror,
    "middle": lambda image: _cropped(image, 0.5, 0.5),
    "top left": lambda image: _cropped(image, 0, 0),
    "top right": lambda image: _cropped(image, 1, 0),
    "bottom left": lambda image: _cropped(image, 0, 1),
    "bottom right": lambda image: _cropped(image, 1, 1),
}
OPTIONS = {
    "plain": ("plain",),
    "and mirrored": ("plain", "mirrored"),
    "and middle crop": ("plain", "middle"),
    "and five crops": tuple(name for name in VIEWS if name != "mirrored"),
    "and all": tuple(VIEWS),
}


def embed_views(target: str, photos: Labelled, cache: Path, console: Console) -> dict[str, Floats]:
    """float32[N,D] for each view, through the server; what was embedded by the same network before is kept.

    Raises:
        LoadTestError: a photo is refused.
    """
    found = {}
    with Client(target, timeout_s=60, max_in_flight=8) as client, Progress(console=console, transient=True) as progress:
        probe = client.embed(photos.files[0]).vector.tobytes()
        for name, view in VIEWS.items():
            key = hashlib.sha256(probe + name.encode() + "\n".join(map(str, photos.files)).encode()).hexdigest()[:16]
            file = cache / f"views-{key}.npy"
            if not file.exists():
                task = progress.add_task(name, total=len(photos.files))
                vectors = _embed(client, photos.files, view, lambda task=task: progress.advance(task))  # type: ignore[misc]
                cache.mkdir(parents=True, exist_ok=True)
                np.save(file, vectors)
            found[name] = np.load(file)
    return found


def _embed(
    client: Client, files: Sequence[Path], view: Callable[[Image.Image], Image.Image], advance: Callable[[], None]
) -> Floats:
    def views() -> object:
        for file in files:
            with Image.open(file) as image:
                yield view(ImageOps.exif_transpose(image).convert("RGB"))

    rows = []
    for item in client.embed_many(views()):  # type: ignore[arg-type]
        try:
            rows.append(item.result().vector)
        except TriptychError as error:
            raise LoadTestError(f"{files[len(rows)]} was refused: {error}") from error
        advance()
    return np.stack(rows).astype(np.float32)


def score_all(gallery: Labelled, queries: Labelled, seen: dict[str, Floats], asked: dict[str, Floats]) -> list[Score]:
    """Every option, and the plain embedding and the best option whitened."""
    scores: list[Score] = []
    base: npt.NDArray[np.bool_] | None = None
    for name, views in OPTIONS.items():
        one, other = _mean([seen[view] for view in views]), _mean([asked[view] for view in views])
        variants = {name: (one, other)}
        if name in ("plain", "and all"):
            for dims in WHITENED_DIMS:
                if dims < len(one):
                    variants[f"{name}, whitened to {dims}"] = whiten(one, other, dims)
        similarities = {label: right @ left.T for label, (left, right) in variants.items()}
        if name == "plain" and len(set(gallery.categories.tolist())) > 1:
            similarities["plain, narrowed to the likeliest folders above"] = narrow(gallery, similarities["plain"])
        for label, similarity in similarities.items():
            hits, recall_10, average = _rank(gallery, queries, similarity)
            base = hits if base is None else base
            gain = _gain(hits, base)
            scores.append(Score(label, float(hits.mean()), recall_10, average, gain, len(views)))
    return scores


def narrow(gallery: Labelled, similarity: Floats) -> Floats:
    """float32[Q,N] in which the categories that the nearest vote for come first: `narrow_by` without predictions."""
    narrowed = similarity.copy()
    for row, order in zip(narrowed, np.argsort(-similarity, axis=1, kind="stable")[:, :VOTERS], strict=True):
        votes = vote("category", [({"category": str(gallery.categories[n])}, float(row[n])) for n in order])
        row[~np.isin(gallery.categories, choose(votes, {}))] -= 2  # behind every cosine
    return narrowed


def whiten(gallery: Floats, queries: Floats, dims: int) -> tuple[Floats, Floats]:
    """Both on the gallery's first principal axes, each scaled to variance 1 (Jegou and Chum 2012), L2 norm 1 again."""
    mean = gallery.mean(axis=0)
    _, spread, axes = np.linalg.svd(gallery - mean, full_matrices=False)
    scale = np.sqrt(len(gallery)) / np.maximum(spread[:dims], 1e-6)
    one, other = (((rows - mean) @ axes[:dims].T) * scale for rows in (gallery, queries))
    return _unit(one), _unit(other)


def _rank(gallery: Labelled, queries: Labelled, similarity: Floats) -> tuple[npt.NDArray[np.bool_], float, float]:
    order = np.argsort(-similarity, axis=1, kind="stable")
    right = gallery.labels[order] == queries.labels[:, None]
    total = right.sum(axis=1)
    precision = right.cumsum(axis=1) / np.arange(1, right.shape[1] + 1)
    average = (precision * right).sum(axis=1) / np.maximum(total, 1)
    return right[:, 0], float(right[:, :10].any(axis=1).mean()), float(average.mean())


def _gain(hits: npt.NDArray[np.bool_], base: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    differences: npt.NDArray[np.float64] = hits.astype(np.float64) - base.astype(np.float64)
    chosen = np.random.default_rng(SEED).integers(0, len(differences), (RESAMPLES, len(differences)))
    means: npt.NDArray[np.float64] = differences[chosen].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(differences.mean()), float(low), float(high)


def _mean(views: Sequence[Floats]) -> Floats:
    return _unit(np.mean(views, axis=0))


def _unit(rows: Floats) -> Floats:
    unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def compare(target: str, gallery: Path, queries: Path, cache: Path, console: Console) -> dict[str, object]:
    """Embeds both folders through the server, prints the table, returns the figures.

    Raises:
        LoadTestError: a folder has no photos, or a query has a label that the gallery does not have.
    """
    seen, asked = Labelled.read(gallery), Labelled.read(queries)
    missing = sorted(set(asked.labels.tolist()) - set(seen.labels.tolist()))
    if missing:
        raise LoadTestError(
            f"{len(missing)} labels of {queries} are not in {gallery}, {missing[0]!r} for one. A label is the name of "
            "the folder a photo lies in."
        )
    scores = score_all(
        seen, asked, embed_views(target, seen, cache, console), embed_views(target, asked, cache, console)
    )
    table = Table(title=f"{len(asked.files)} queries, {len(seen.files)} in the gallery", title_justify="left", box=None)
    for column in ("", "recall@1", "gain (95 %)", "recall@10", "mAP", "forward passes"):
        table.add_column(column, justify="right" if column else "left")
    for score in scores:
        gain, low, high = score.gain_1
        table.add_row(
            score.name,
            f"{score.recall_1:.3f}",
            f"{gain:+.3f} ({low:+.3f} to {high:+.3f})",
            f"{score.recall_10:.3f}",
            f"{score.mean_average_precision:.3f}",
            str(score.passes),
        )
    console.print(table)
    return {
        "gallery": len(seen.files),
        "queries": len(asked.files),
        "scores": [asdict(score) for score in scores],
    }
