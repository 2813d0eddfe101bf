"""Renders rules and dashboards from `ops/slo.yaml`, writes them with the Alertmanager example, or compares them."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ops.errors import OpsError, WrongUsage
from ops.observability.rules.burn_rates import objective_groups
from ops.observability.rules.kubernetes import kubernetes_group
from ops.observability.rules.rule import write_groups
from ops.observability.rules.serving import serving_group
from ops.observability.rules.symptoms import symptom_group
from ops.observability.slo.deployment import Deployment, read_steps
from ops.observability.slo.objectives import Server, read_objectives
from ops.settings import REPOSITORY

RENDERED = Path(__file__).parent
OBJECTIVE_RULES = Path("rules/objectives.yaml")
SERVER_RULES = Path("rules/servers.yaml")
KUBERNETES_RULES = Path("rules/kubernetes.yaml")
ROUTING = Path("alertmanager/alertmanager.yaml")  # the same for every deployment: copied


def read_deployment(
    repository: Path = REPOSITORY,
    *,
    release: str | None = None,
    profile: str | None = None,
    runbooks: str | None = None,
    time_scale: float = 1.0,
) -> Deployment:
    """Returns the deployment of `slo.yaml`.

    Args:
        repository: the model repository.
        release: replaces the release of `slo.yaml`.
        profile: replaces its profile; '' is `config.pbtxt`.
        runbooks: replaces its URL of the runbooks.
        time_scale: see `Deployment`.

    Raises:
        OpsError: the objectives or the ensemble's config have a mistake.
        WrongUsage: the release is not YY.MM, or the runbooks' URL is not one.
    """
    objectives = read_objectives(repository)
    if runbooks is not None:
        if not runbooks.startswith(("http://", "https://")):
            raise WrongUsage(f"--runbooks-url is {runbooks!r}; expected a URL, as in https://wiki/triptych/runbooks.")
        objectives = objectives.model_copy(update={"runbooks": runbooks.rstrip("/")})
    server = objectives.server.model_dump()
    if release is not None:
        server["release"] = release
    if profile is not None:
        server["profile"] = profile or None
    try:
        objectives = objectives.model_copy(update={"server": Server.model_validate(server)})
    except ValidationError as error:
        raise WrongUsage(
            f"--release {release} is not a release of NVIDIA's image; expected YY.MM, as in 24.10."
        ) from error
    return Deployment(objectives, read_steps(repository), time_scale)


def render(deployment: Deployment) -> dict[Path, str]:
    """Returns the content of every derived file, by its path below the output folder.

    Raises:
        OpsError: the dashboard builder is not installed; it does not support Python 3.10.
    """
    try:  # imported late: the dashboard builder takes 0.5 s to import
        from ops.observability.dashboards.board import write_dashboards
    except ModuleNotFoundError as error:
        needs = "The dashboard builder needs Python 3.11 or later"
        raise OpsError(f"{needs} ({error}). Run `make setup PYTHON=python3.12`.") from error

    routing = (RENDERED / ROUTING).read_text(encoding="utf-8")
    return {**render_rules(deployment), ROUTING: routing, **write_dashboards(deployment)}


def render_rules(deployment: Deployment) -> dict[Path, str]:
    runbooks = deployment.objectives.runbooks
    return {
        OBJECTIVE_RULES: write_groups(objective_groups(deployment), runbooks),
        SERVER_RULES: write_groups([serving_group(deployment), symptom_group(deployment)], runbooks),
        KUBERNETES_RULES: write_groups([kubernetes_group(deployment)], runbooks),
    }


def write(deployment: Deployment, output: Path) -> list[Path]:
    """Writes the files that differ; returns their paths."""
    changed = _find_differences(deployment, output)
    for path, text in changed.items():
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        (output / path).write_text(text, encoding="utf-8")
    return list(changed)


def check(deployment: Deployment, output: Path) -> None:
    """Raises:
    OpsError: a rendered file is missing or differs; the message names the file.
    """
    different = _find_differences(deployment, output)
    if different:
        names = ", ".join(str(output / path) for path in different)
        raise OpsError(
            f"These files differ from the rendered ones: {names}. Run `make generate` and commit the result."
        )


def _find_differences(deployment: Deployment, output: Path) -> dict[Path, str]:
    """Returns the rendered files that are missing or different below `output`."""
    return {
        path: text
        for path, text in render(deployment).items()
        if not (output / path).is_file() or (output / path).read_text(encoding="utf-8") != text
    }
