"""`image`, `sbom`, `chart`, `release-check`: the serving image, its bill of materials, derived files, a version."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ops.cli.options import add_command, as_path
from ops.errors import WrongUsage
from ops.settings import ROOT

CONTEXT = ROOT / ".cache" / "image"
REQUIREMENTS = ROOT / "ops/packaging/image/requirements.txt"


def add_image(commands: Any) -> None:
    parser = add_command(
        commands,
        "image",
        run_image,
        summary="build the serving image of a release with docker",
        description="Copies the Dockerfile, the pinned packages and one release into a build context and runs `docker "
        "build` on it.",
    )
    parser.add_argument("release", type=as_path, help="a folder that `triptych release` made")
    parser.add_argument("--name", default="triptych", help="registry and name of the image (default: %(default)s)")
    parser.add_argument("--base-digest", default="", metavar="sha256:...", help="pin NVIDIA's image by its digest")
    parser.add_argument(
        "--context", type=as_path, default=CONTEXT, help="folder of the build context (default: %(default)s)"
    )
    parser.add_argument("--no-build", action="store_true", help="write the build context and print the docker command")


def run_image(options: argparse.Namespace) -> int:
    from ops.packaging.image.build import build_command, chart_version, fill_context, run_build

    digest = fill_context(options.release, options.context)
    command = build_command(options.context, options.name, chart_version(), digest, options.base_digest)
    if options.no_build:
        print(" ".join(command))
        return 0
    run_build(command)
    print(f"Built {command[-2].removeprefix('--tag=')}. Push it, then install the chart with --set image.tag=...")
    return 0


def add_sbom(commands: Any) -> None:
    parser = add_command(
        commands,
        "sbom",
        run_sbom,
        summary="list the components of the serving image as CycloneDX",
        description="Lists the components of the serving image as validated CycloneDX JSON: every package with "
        "version, hashes and licence, the base image and the weights.",
    )
    parser.add_argument(
        "--output", type=as_path, metavar="FILE", help="write the SBOM there (default: standard output)"
    )
    parser.add_argument(
        "--licences", type=as_path, metavar="FILE", help="write a Markdown table of licences there instead of the SBOM"
    )
    parser.add_argument(
        "--requirements", type=as_path, default=REQUIREMENTS, help="pinned packages of the image (default: %(default)s)"
    )
    parser.add_argument(
        "--wheel", action="store_true", help="list the components of the local server instead, with its compiled files"
    )


def run_sbom(options: argparse.Namespace) -> int:
    from ops.packaging.sbom import make_licence_table, make_sbom
    from ops.packaging.wheel_sbom import make_wheel_sbom

    file = options.licences or options.output
    if file is not None:
        _prepare(file)
    sbom = make_wheel_sbom(options.requirements) if options.wheel else make_sbom(options.requirements)
    try:
        if options.licences is not None:
            options.licences.write_text(make_licence_table(sbom), encoding="utf-8")
        elif options.output is not None:
            options.output.write_text(sbom, encoding="utf-8")
        else:
            print(sbom, end="")
    except OSError as error:
        raise WrongUsage(f"Cannot write {error.filename} ({error.strerror}). Name another file.") from error
    return 0


def _prepare(file: Path) -> None:
    """Makes the folder of a file that the work is to end in.

    Raises:
        WrongUsage: the file could not be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WrongUsage(f"Cannot make {error.filename} ({error.strerror}). Name another file.") from error
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise WrongUsage(f"Cannot write {file}: {'a folder' if file.is_dir() else 'no permission'}. Name another file.")


def add_chart(commands: Any) -> None:
    parser = add_command(
        commands,
        "chart",
        run_chart,
        summary="write the chart's derived files: rules, dashboards",
        description="Copies rules and dashboards into the chart, because Helm reads no file outside it.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the files that differ")


def run_chart(options: argparse.Namespace) -> int:
    from ops.packaging.chart_files import derive, find_differences, write

    files = derive()
    paths = find_differences(files) if options.check else write(files)
    names = ", ".join(str(path.relative_to(ROOT)) for path in paths)
    if options.check and paths:
        print(f"error: These files differ: {names}. Run `make generate` and commit the result.", file=sys.stderr)
        return 1
    print(f"Wrote {names}." if paths else "The derived files of the chart are up to date.")
    return 0


def add_release_check(commands: Any) -> None:
    parser = add_command(
        commands,
        "release-check",
        run_release_check,
        summary="check that this version can be published: versions agree, wheel and chart build",
        description="Checks that the distributions, the chart, the changelog and a tag of the commit have one version; "
        "builds the client's wheel and source archive, checks them with twine, and packs the chart.",
    )
    parser.add_argument("--helm", default="helm", help="the Helm program (%(default)s)")
    parser.add_argument(
        "--output",
        type=as_path,
        default=ROOT / ".cache/dist",
        help="folder of what is built, emptied first (%(default)s)",
    )


def run_release_check(options: argparse.Namespace) -> int:
    from ops.packaging.release_check import check_release

    for path in check_release(options.helm, options.output):
        print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")
    return 0
