"""Makes a release: copies a placed model repository into an immutable folder that is named by its digest."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.errors import ReleaseError, RepositoryError
from export.release.folder import (
    FORMAT,
    MODEL_CARD,
    Release,
    parse_manifest,
    require_whole,
    seal,
    sha256_of,
    staging_folder,
)
from export.repository.layout import MODELS_FOLDER, PACKAGE, list_files, model_file, refuse_earlier_layout
from export.repository.manifest import MANIFEST, read_manifest, sync_folder


def make_release(repository: Path, output: Path) -> Release:
    """Makes the release, or returns the existing one if it is complete.

    Raises:
        RepositoryError: nothing is placed, placed files were changed, or the serving package differs from the imported
            one, which computes the golden answers.
        ReleaseError: a file cannot be read or written; nothing is left in `output`.
    """
    from export.repository.serving_package import require_same_package

    refuse_earlier_layout(repository)
    placed = read_manifest(repository)
    if placed is None:
        raise RepositoryError(
            f"{repository} has no complete placement: {_describe_misplacement(repository)}. Place the weights with "
            "`triptych build`."
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


def _describe_misplacement(repository: Path) -> str:
    """What `read_manifest` did not take: the manifest, or the first of the listed files that is not as listed."""
    try:
        files: dict[str, str] = json.loads((repository / MANIFEST).read_bytes())["files"]
        for name, digest in files.items():
            if not (repository / name).is_file():
                return f"{name} is missing"
            if sha256_of(repository / name) != digest:
                return f"{name} was changed"
    except FileNotFoundError:
        return f"its {MANIFEST} is missing"
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return f"its {MANIFEST} does not list the placed files"


def find_files(repository: Path) -> Iterator[tuple[str, Path]]:
    """Path inside the repository and resolved file, for all files of the models and of the serving package."""
    for folder in (MODELS_FOLDER, PACKAGE):
        for name, file in list_files(repository / folder):
            yield f"{folder}/{name}", file


def _write_facts(repository: Path, placed: dict[str, Any], names: list[str], staging: Path) -> None:
    """Writes the golden photos, the model card and, last, the manifest."""
    from export.release import golden, model_card
    from export.repository.configs import LABELS, read_config

    photos = golden.make_photos()
    for name, photo in photos.items():
        (staging / name).write_bytes(photo)
    answers = golden.compute_answers(staging, photos)
    facts = {key: value for key, value in placed.items() if key != "files"}
    name = re.sub(r"[^\w.-]+", "-", facts["backbone"]["name"], flags=re.ASCII)  # part of the folder's name
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
        raise RepositoryError(f"{', '.join(changed)} changed while the release was being made. Run the command again.")
    (staging / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _settle(staging: Path, output: Path) -> Release:
    """Makes the staged folder durable and read-only, and renames it to the name of the release."""
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
