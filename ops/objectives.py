"""`ops/slo.yaml` as types: a closed schema, every mistake a sentence. Knows nothing of Prometheus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ops.errors import OpsError
from ops.repository import check_layout, models_folder
from ops.settings import ROOT

SLO_FILE = ROOT / "ops/slo.yaml"

_SPAN = re.compile(r"^(\d+)([mhd])$")
_UNITS_S = {"m": 60, "h": 3600, "d": 86400}
# pydantic's kinds of error that a person meets, in our words; every other keeps pydantic's.
_WORDS = {"extra_forbidden": "unknown key", "missing": "missing key"}


def parse_span(text: str) -> int:
    """Seconds of `5m`, `6h` or `3d`.

    Raises:
        ValueError: it is none of these.
    """
    found = _SPAN.match(text)
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r} is not a span of time; expected a number and m, h or d, as in 5m")
    return int(found[1]) * _UNITS_S[found[2]]


def _check_span(text: str) -> str:
    parse_span(text)
    return text


Percent = Annotated[float, Field(gt=0, lt=100)]
Span = Annotated[str, AfterValidator(_check_span)]
Release = Annotated[str, Field(pattern=r"^\d{2}\.\d{2}$")]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Availability(_Closed):
    percent: Percent


class Latency(_Closed):
    """`percent` of the answers in less than `under_ms`, or what the profile says instead."""

    percent: Percent
    under_ms: int = Field(gt=0)
    profiles: dict[str, Annotated[int, Field(gt=0)]] = {}

    def threshold_s(self, profile: str | None) -> float:
        return self.profiles.get(profile or "", self.under_ms) / 1000


class ModelObjectives(_Closed):
    awaited: bool = False
    availability: Availability
    latency: Latency


class BurnRate(_Closed):
    factor: float = Field(gt=0)
    long: Span
    short: Span
    severity: Literal["page", "ticket"]


class Server(_Closed):
    """`release` is that of NVIDIA's image, YY.MM; `profile` None is `config.pbtxt` for every model."""

    release: Release
    profile: str | None


class Objectives(_Closed):
    window_days: int = Field(gt=0)
    models: dict[str, ModelObjectives]
    burn_rates: list[BurnRate]
    least_failures: int = Field(ge=1)
    server: Server
    job: str = Field(pattern=r"^[\w.-]+$")
    runbooks: str = Field(pattern=r"^https?://\S+[^/]$")


def read_objectives(repository: Path, file: Path = SLO_FILE) -> Objectives:
    """The objectives, checked against the models there are.

    Raises:
        OpsError: the file cannot be read, does not fit the schema, or speaks of a model that is not there; or the
            repository is of an earlier version.
    """
    check_layout(repository)
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OpsError(f"Cannot read the objectives in {file}: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise OpsError(f"{file.name} is not YAML: {' '.join(str(error).split())}.") from error
    try:
        objectives = Objectives.model_validate(content)
    except ValidationError as error:
        raise OpsError("\n".join(_describe(file, mistake) for mistake in error.errors())) from error
    for model, own in objectives.models.items():
        is_there = (models_folder(repository) / model / "config.pbtxt").is_file()
        _check_model(file, model, own, is_there=is_there)
    return objectives


def _describe(file: Path, mistake: Any) -> str:
    place = ".".join(str(part) for part in mistake["loc"])
    message = mistake["msg"].removeprefix("Value error, ")
    got = "" if mistake["type"] == "missing" else f"; got {mistake['input']!r}"
    return f"{file.name}: {place}: {_WORDS.get(mistake['type'], message)}{got}. The schema is ops/objectives.py."


def _check_model(file: Path, model: str, own: ModelObjectives, *, is_there: bool) -> None:
    if own.awaited and is_there:
        raise OpsError(f"{file.name}: models.{model} is awaited, but the model is there. Remove `awaited`.")
    if not own.awaited and not is_there:
        raise OpsError(
            f"{file.name}: models.{model}: no such model in the repository. Correct the name, or say `awaited: true`."
        )
