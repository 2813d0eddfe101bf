"""The command `place`: what it takes and how it is explained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from loky import cpu_count
from rich.console import Console

from export.contract import TEMPLATE
from export.place import Settings, place
from export.precision import PRECISIONS
from export.profiles import DEFAULT_PROFILES, PROFILES, size_for
from export.sources import Choice

SAMPLE_PHOTOS = TEMPLATE.parent / ".cache/photos"

_EPILOG = """\
examples:
  python -m export place                                        the default weights, sized for this machine
  python -m export place --cores 8                              sized for a server with 8 cores
  python -m export place --model resnet50 --repository served   torchvision's weights, in a repository of its own
  python -m export place --model resnet50 --weights r50.pth     the same from a file, without a network
  python -m export place --checkpoint best.pth --labels shop.txt
                                                                your training; its architecture is recognised
  python -m export place --module shop.networks:build --image-side 288 --labels shop.txt
  python -m export place --onnx shop.onnx --labels shop.txt
  python -m export place --photos ~/shop                        verified on your own photos
  python -m export place --heads trained/shop --repository served
                                                                what `python -m export train` made
"""


def add_parser(commands: Any) -> None:
    """Adds `place` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "place",
        help="export weights, verify them, and place them in the model repository",
        description="Builds two ONNX files, embedder and classifier, from a network; proves on real photos that they "
        "compute what torch computes; places them with labels, warm-up data and hardware profiles. Nothing is placed "
        "unless every check holds. Doing it again with nothing changed takes seconds and changes nothing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_source(parser)
    _add_photo_options(parser)
    _add_target(parser)
    parser.set_defaults(run=run)


def _add_source(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("what to export")
    source.add_argument("--model", metavar="NAME", help="efficientnet-lite0 (default), or torchvision's name")
    source.add_argument(
        "--weights",
        default="default",
        metavar="default|none|NAME|FILE",
        help="default: those the source publishes; none: random, seeded; a name as torchvision's IMAGENET1K_V1; a file",
    )
    kinds = source.add_mutually_exclusive_group()
    kinds.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="a state dict (torch.save or safetensors) of a known network"
    )
    kinds.add_argument("--module", metavar="MODULE:FACTORY", help="a function of yours that returns a torch.nn.Module")
    kinds.add_argument("--onnx", type=Path, metavar="FILE", help="float32[N,3,S,S] -> logits float32[N,C]")
    source.add_argument(
        "--heads", type=Path, metavar="DIR", help="a trained folder: its heads, and its backbone where it was tuned"
    )
    source.add_argument("--labels", type=Path, metavar="FILE", help="a line a class (default: ImageNet-1k)")
    source.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="int8 must pay in speed or is refused; fp16 is for GPUs"
    )


def _add_photo_options(parser: argparse.ArgumentParser) -> None:
    seeing = parser.add_argument_group("how the network sees a photo (default: as its weights say)")
    seeing.add_argument("--image-side", type=_positive, metavar="PX", help="side of the square it takes")
    seeing.add_argument(
        "--crop-ratio", type=_ratio, metavar="R", help="the short side is resized to PX / R, then cropped"
    )
    seeing.add_argument("--interpolation", choices=("bilinear", "bicubic"))
    seeing.add_argument("--mean", type=_channels, metavar="R,G,B", help="on the 0-1 scale (default: ImageNet's)")
    seeing.add_argument("--std", type=_channels, metavar="R,G,B")


def _add_target(parser: argparse.ArgumentParser) -> None:
    target = parser.add_argument_group("where and for what machine")
    target.add_argument(
        "--repository",
        type=Path,
        default=TEMPLATE,
        metavar="DIR",
        help="made if there is none (default: %(default)s)",
    )
    target.add_argument(
        "--photos", type=Path, default=SAMPLE_PHOTOS, metavar="DIR", help="*.jpg to verify on (default: %(default)s)"
    )
    target.add_argument(
        "--calibration", type=Path, metavar="DIR", help="photos int8 is calibrated on (default: those of --photos)"
    )
    target.add_argument(
        "--evaluation",
        type=Path,
        metavar="DIR",
        help="labelled photos for int8: DIR/<class>/*.jpg, or *_<class index>.jpg (default: those of --photos)",
    )
    target.add_argument(
        "--cores",
        type=_positive,
        default=cpu_count(),
        metavar="N",
        help="cores of the serving machine (default: those seen, %(default)s)",
    )
    target.add_argument(
        "--profiles",
        type=_profiles,
        default=DEFAULT_PROFILES,
        metavar="NAME,...",
        help=f"of {', '.join(PROFILES)} (default: {','.join(DEFAULT_PROFILES)})",
    )
    target.add_argument("--force", action="store_true", help="export again even where nothing has changed")
    target.add_argument("--json", action="store_true", help="print one JSON object at the end; progress goes to stderr")


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Does what the command line says."""
    choice = Choice(
        model=options.model,
        checkpoint=options.checkpoint,
        module=options.module,
        onnx=options.onnx,
        weights=options.weights,
        labels=options.labels,
        side_px=options.image_side,
        crop_ratio=options.crop_ratio,
        interpolation=options.interpolation,
        mean=options.mean,
        std=options.std,
    )
    settings = Settings(
        repository=options.repository,
        photos=options.photos,
        sizing=size_for(options.cores),
        force=options.force,
        choice=choice,
        precision=options.precision,
        profiles=options.profiles,
        calibration=options.calibration,
        evaluation=options.evaluation,
        heads=options.heads,
    )
    return place(settings, console)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}, expected at least 1")
    return number


def _ratio(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{number:g}, expected more than 0 and at most 1")
    return number


def _channels(text: str) -> tuple[float, ...]:
    channels = tuple(float(part) for part in text.split(","))
    if len(channels) != 3 or not all(0 <= value <= 1 for value in channels):
        raise argparse.ArgumentTypeError(f"{text!r}, expected three numbers from 0 to 1, as 0.485,0.456,0.406")
    return channels


def _profiles(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in PROFILES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected some of {', '.join(PROFILES)}")
    return names
