"""The schema of `ops/slo.yaml`, closed, with one sentence for each mistake. Must not depend on Prometheus."""

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
# Replaces pydantic's wording for its most frequent errors.
_WORDS = {"extra_forbidden": "unknown key", "missing": "missing key"}


def parse_span(text: str) -> int:
    """Returns the seconds of `5m`, `6h` or `3d`.

    Raises:
        ValueError: the text is not such a span.
    """
    found = _SPAN.match(text)
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r} is not a duration; expected a number and m, h or d, as in 5m")
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
    """`percent` of the answers take less than `under_ms`, or less than the value of the profile in `profiles`."""

    percent: Percent
    under_ms: int = Field(gt=0)
    profiles: dict[str, Annotated[int, Field(gt=0)]] = {}

    def threshold_s(self, profile: str | None) -> float:
        return self.profiles.get(profile or "", self.under_ms) / 1000


class ModelObjectives(_Closed):
    availability: Availability
    latency: Latency


class BurnRate(_Closed):
    factor: float = Field(gt=0)
    long: Span
    short: Span
    severity: Literal["page", "ticket"]


class Server(_Closed):
    """`release` is the release of NVIDIA's image, YY.MM; `profile` None is `config.pbtxt` for every model."""

    release: Release
    profile: str | None


class Objectives(_Closed):
    """`runbooks` is the URL where docs/runbooks/ is published; None makes alerts and panels name the files."""

    window_days: int = Field(gt=0)
    models: dict[str, ModelObjectives]
    burn_rates: list[BurnRate]
    least_failures: int = Field(ge=1)
    server: Server
    job: str = Field(pattern=r"^[\w.-]+$")
    runbooks: Annotated[str, Field(pattern=r"^https?://\S+[^/]$")] | None = None


def read_objectives(repository: Path, file: Path = SLO_FILE) -> Objectives:
    """Returns the objectives, checked against the models of the repository.

    Raises:
        OpsError: the file cannot be read, does not fit the schema or names a missing model; or the repository has the
            layout of an earlier version.
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
    for model in objectives.models:
        if not (models_folder(repository) / model / "config.pbtxt").is_file():
            raise OpsError(f"{file.name}: models.{model}: the repository has no such model. Correct the name.")
    return objectives


def _describe(file: Path, mistake: Any) -> str:
    place = ".".join(str(part) for part in mistake["loc"])
    message = mistake["msg"].removeprefix("Value error, ")
    got = "" if mistake["type"] == "missing" else f"; got {mistake['input']!r}"
    sentence = f"{file.name}: {place}: {_WORDS.get(mistake['type'], message)}{got}."
    return f"{sentence} The schema is ops/observability/slo/objectives.py."
