"""The command `build`: options, help and settings."""

from __future__ import annotations

import argparse
from typing import Any

from loky import cpu_count
from rich.console import Console

from export.cli.arguments import SAMPLE_PHOTOS, HelpFormatter, add_json_option, as_path, positive_integer
from export.cli.execution import set_run
from export.placement.placing import PRECISIONS, Settings, place
from export.profiles.cpu import size_for
from export.profiles.rendering import DEFAULT_PROFILES, PROFILES
from export.repository.configs import CHECKOUT_REPOSITORY
from export.sources.loading import BackboneChoice

_EPILOG = """\
examples:
  triptych build                                       default weights, sized for this machine
  triptych build --cores 8                             sized for a server with 8 cores
  triptych build --model resnet50 --repository served  torchvision's weights, in a separate repository
  triptych build --model resnet50 --weights r50.pth    the same from a file, without network access
  triptych build --checkpoint best.pth --labels shop.txt
                                                       your checkpoint; its architecture is detected
  triptych build --module shop.networks:build --image-side 288 --labels shop.txt
  triptych build --onnx shop.onnx --labels shop.txt
  triptych build --photos ~/shop                       verified on your own photos
  triptych build --heads trained/shop --repository served
                                                       the output of `triptych train`
"""


def add_parser(commands: Any) -> None:
    """Adds `build` to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "build",
        help="build ONNX files from weights, verify them, and place them in the model repository",
        description="Builds two ONNX files, embedder and classifier, from a network; verifies on real photos that "
        "their outputs equal those of torch; places them with labels, warm-up data and hardware profiles. If one "
        "check fails, nothing is placed. A second run with unchanged inputs takes seconds and changes nothing.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    _add_source_options(parser)
    _add_transform_options(parser)
    _add_target_options(parser)
    set_run(parser, run)


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("source of the network")
    source.add_argument("--model", metavar="NAME", help="efficientnet-lite0 (default), or a torchvision model name")
    source.add_argument(
        "--weights",
        default="default",
        metavar="default|none|NAME|FILE",
        help="default: the published weights; none: random weights, fixed seed; NAME: as torchvision's IMAGENET1K_V1; "
        "FILE: a state dict",
    )
    kinds = source.add_mutually_exclusive_group()
    kinds.add_argument(
        "--checkpoint", type=as_path, metavar="FILE", help="a state dict (torch.save or safetensors) of a known network"
    )
    kinds.add_argument("--module", metavar="MODULE:FACTORY", help="your function that returns a torch.nn.Module")
    kinds.add_argument("--onnx", type=as_path, metavar="FILE", help="float32[N,3,S,S] -> logits float32[N,C]")
    source.add_argument(
        "--heads", type=as_path, metavar="DIR", help="trained folder: its heads, and its backbone if it was fine-tuned"
    )
    source.add_argument("--labels", type=as_path, metavar="FILE", help="one class per line (default: ImageNet-1k)")
    source.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="int8 is refused unless it is faster on this machine; fp16 is for GPUs (default: %(default)s)",
    )


def _add_transform_options(parser: argparse.ArgumentParser) -> None:
    transform = parser.add_argument_group("preprocessing (default: as the weights require)")
    transform.add_argument("--image-side", type=positive_integer, metavar="PX", help="side of the square input")
    transform.add_argument(
        "--crop-ratio", type=_ratio, metavar="R", help="the short side is resized to PX / R, then cropped to PX"
    )
    transform.add_argument("--interpolation", choices=("bilinear", "bicubic"), help="of the resize")
    transform.add_argument(
        "--mean", type=_channels, metavar="R,G,B", help="mean of each channel, 0 to 1 (default: ImageNet's)"
    )
    transform.add_argument(
        "--std", type=_channels, metavar="R,G,B", help="deviation of each channel, 0 to 1 (default: ImageNet's)"
    )


def _add_target_options(parser: argparse.ArgumentParser) -> None:
    target = parser.add_argument_group("target repository and machine")
    target.add_argument(
        "--repository",
        type=as_path,
        default=CHECKOUT_REPOSITORY,
        metavar="DIR",
        help="model repository; created if missing (default: %(default)s)",
    )
    target.add_argument(
        "--photos",
        type=as_path,
        default=SAMPLE_PHOTOS,
        metavar="DIR",
        help="*.jpg photos to verify on (default: %(default)s)",
    )
    target.add_argument(
        "--calibration", type=as_path, metavar="DIR", help="calibration photos for int8 (default: those of --photos)"
    )
    target.add_argument(
        "--evaluation",
        type=as_path,
        metavar="DIR",
        help="labelled photos for int8: DIR/<class>/*.jpg, or *_<class index>.jpg (default: those of --photos)",
    )
    target.add_argument(
        "--cores",
        type=positive_integer,
        default=cpu_count(),
        metavar="N",
        help="cores of the serving machine (default: those of this machine, %(default)s)",
    )
    target.add_argument(
        "--profiles",
        type=_profiles,
        default=DEFAULT_PROFILES,
        metavar="NAME,...",
        help=f"hardware profiles, from {', '.join(PROFILES)} (default: {','.join(DEFAULT_PROFILES)})",
    )
    target.add_argument("--force", action="store_true", help="place again even if the inputs are unchanged")
    add_json_option(target)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Runs the command."""
    choice = BackboneChoice(
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


def _ratio(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{number:g}, expected more than 0 and at most 1")
    return number


def _channels(text: str) -> tuple[float, ...]:
    channels = tuple(float(part) for part in text.split(","))
    if len(channels) != 3 or not all(0 <= value <= 1 for value in channels):
        raise argparse.ArgumentTypeError(f"{text!r}, expected three numbers from 0 to 1, such as 0.485,0.456,0.406")
    return channels


def _profiles(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in PROFILES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected names from {', '.join(PROFILES)}")
    return names
