"""Renders rules, the Alertmanager example and dashboards from `ops/slo.yaml`, writes them or compares them."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ops.errors import OpsError, WrongUsage
from ops.observability.alertmanager.routing import write_routing
from ops.observability.rules.burn_rates import objective_groups
from ops.observability.rules.kubernetes import kubernetes_group
from ops.observability.rules.rule import write_groups
from ops.observability.rules.serving import serving_group
from ops.observability.rules.symptoms import symptom_group
from ops.observability.slo.deployment import Deployment, read_steps
from ops.observability.slo.objectives import Server, read_objectives
from ops.settings import REPOSITORY

OBJECTIVE_RULES = Path("rules/objectives.yaml")
SERVER_RULES = Path("rules/servers.yaml")
KUBERNETES_RULES = Path("rules/kubernetes.yaml")
ROUTING = Path("alertmanager/alertmanager.yaml")


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
    """Returns the content of every derived file, by its path below the output folder."""
    # Imported late: the dashboard builder takes 0.5 s to import.
    from ops.observability.dashboards.files import write_dashboards

    return {**render_rules(deployment), ROUTING: write_routing(), **write_dashboards(deployment)}


def render_rules(deployment: Deployment) -> dict[Path, str]:
    runbooks = deployment.objectives.runbooks
    return {
        OBJECTIVE_RULES: write_groups(objective_groups(deployment), runbooks),
        SERVER_RULES: write_groups([serving_group(deployment), symptom_group(deployment)], runbooks),
        KUBERNETES_RULES: write_groups([kubernetes_group(deployment)], runbooks),
    }


def write(deployment: Deployment, output: Path) -> list[Path]:
    """Writes the files that differ; returns their paths."""
    changed = find_differences(deployment, output)
    files = render(deployment)
    for path in changed:
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        (output / path).write_text(files[path], encoding="utf-8")
    return changed


def find_differences(deployment: Deployment, output: Path) -> list[Path]:
    """Returns the files below `output` that are missing or differ from the rendered ones."""
    return [path for path, text in render(deployment).items() if not _holds(output / path, text)]


def check(deployment: Deployment, output: Path) -> None:
    """Raises:
    OpsError: a rendered file is missing or differs; the message names the file.
    """
    different = find_differences(deployment, output)
    if different:
        names = ", ".join(str(output / path) for path in different)
        raise OpsError(
            f"These files differ from the rendered ones: {names}. Run `make generate` and commit the result."
        )


def _holds(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text(encoding="utf-8") == text
