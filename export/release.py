"""`release`: what is placed in a model repository -> an immutable folder named by its digest."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from export.errors import ReleaseError, RepositoryError
from export.layout import MODELS_FOLDER, PACKAGE, list_files, model_file, refuse_earlier_layout
from export.placement import MANIFEST, read_manifest, sync_folder
from export.release_folder import FORMAT, MODEL_CARD, Release, parse_manifest, require_whole, sha256_of

ROOT = Path(__file__).resolve().parents[1]
STAGING_PREFIX = ".staging-"

_EPILOG = """\
examples:
  python -m export release                         releases/efficientnet-lite0-<digest>/
  python -m export release --sign private.pem      signed with a key of yours (see export/RELEASES.md)
"""


def add_parser(commands: Any) -> None:
    command = commands.add_parser(
        "release",
        help="make an immutable, verified folder of what is placed",
        description="Copy configs, the serving package, weights, labels and warm-up data into a read-only folder named "
        "by its digest, with a manifest, golden requests and a model card. The same inputs make the same release.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--repository", type=Path, default=ROOT / "model_repository", help="model repository (default: %(default)s)"
    )
    command.add_argument(
        "--output", type=Path, default=ROOT / "releases", help="folder of releases (default: %(default)s)"
    )
    command.add_argument("--sign", type=Path, metavar="KEY", help="private key, PEM, to sign with")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    with console.status("Releasing ..."):
        release = make_release(options.repository, options.output)
        if options.sign is not None:
            from export.signing import sign

            sign(release, options.sign)
    size_mb = sum((release.folder / name).stat().st_size for name in release.files) / 1e6
    signed = ", signed" if options.sign is not None else ""
    console.print(f"Released {release.folder}: {len(release.files)} files, {size_mb:.1f} MB{signed}.", markup=False)
    console.print(f"Digest sha256:{release.digest}", markup=False)
    return {"folder": str(release.folder), "digest": release.digest, "size_mb": round(size_mb, 1)}


def make_release(repository: Path, output: Path) -> Release:
    """Makes the release, or finds it made already and whole.

    Raises:
        RepositoryError: nothing is placed, or what is placed was changed since; or it holds another version of the
            serving package than the one that golden requests are answered with.
        ReleaseError: a file cannot be read or written; nothing is left in `output`.
    """
    from export.serving_package import require_same_package

    refuse_earlier_layout(repository)
    placed = read_manifest(repository)
    if placed is None:
        raise RepositoryError(
            f"Nothing whole is placed in {repository}: its {MANIFEST} is missing, or a file it lists was changed. "
            "Place the weights with `python -m export place`."
        )
    require_same_package(repository)
    sources = dict(find_files(repository))
    try:
        with staging_folder(output) as staging:
            for name, source in sources.items():
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, staging / name)
            _write_facts(repository, placed, list(sources), staging)
            return _settle(staging, output)
    except OSError as error:
        raise ReleaseError(f"Cannot write a release to {output} ({error.strerror}). Nothing was left there.") from error


def find_files(repository: Path) -> Iterator[tuple[str, Path]]:
    """Path inside the repository -> the file itself, for all files of the models and of the serving package."""
    for folder in (MODELS_FOLDER, PACKAGE):
        for name, file in list_files(repository / folder):
            yield f"{folder}/{name}", file


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """A folder on the filesystem of `parent`, gone at the end unless it was renamed."""
    parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=parent))
    try:
        yield staging
    finally:
        if staging.exists():
            remove_tree(staging)


def _write_facts(repository: Path, placed: dict[str, Any], names: list[str], staging: Path) -> None:
    """Golden photos, the model card and, last, the manifest."""
    from export import golden, model_card
    from export.contract import LABELS, read_config

    photos = golden.make_photos()
    for name, photo in photos.items():
        (staging / name).write_bytes(photo)
    answers = golden.answer_photos(staging, photos)
    facts = {key: value for key, value in placed.items() if key != "files"}
    name = re.sub(r"[^\w.-]+", "-", facts["backbone"]["name"], flags=re.ASCII)  # it becomes the name of a folder
    parameters = read_config(staging, "preprocess").parameters
    limits = {key: parameters[key].string_value for key in sorted(parameters)}
    limits["max_batch_size"] = str(read_config(staging, golden.MODEL).max_batch_size)
    labels = (staging / model_file(golden.MODEL, LABELS)).read_text(encoding="utf-8").splitlines()
    card = model_card.render(name, facts, labels, limits, answers)
    (staging / MODEL_CARD).write_text(card, encoding="utf-8")
    manifest = {
        "release": {"format": FORMAT, "name": name},
        **facts,
        "golden": answers,
        "files": {file: sha256_of(staging / file) for file in sorted([*names, *photos, MODEL_CARD])},
    }
    changed = [file for file, digest in placed["files"].items() if manifest["files"].get(file) != digest]
    if changed:
        raise RepositoryError(f"{', '.join(changed)} changed while the release was made. Run the command again.")
    (staging / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _settle(staging: Path, output: Path) -> Release:
    """Makes the staged folder durable and read-only, and gives it its name."""
    release = parse_manifest(staging, (staging / MANIFEST).read_bytes())
    folder = output / release.name
    release = Release(folder, release.digest, release.manifest)
    if folder.exists():
        require_whole(release)
        return release
    seal(staging)
    staging.rename(folder)
    sync_folder(output)
    return release


def seal(folder: Path) -> None:
    """Everything in it onto the disk, and read-only."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.chmod(0o444)
        else:
            sync_folder(path)
            path.chmod(0o555)
    sync_folder(folder)
    folder.chmod(0o555)


def remove_tree(folder: Path) -> None:
    """Removes also what is read-only."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder)
