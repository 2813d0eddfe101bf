"""`python -m ops render`: rules, Alertmanager example and dashboards out of `ops/slo.yaml`; `--check` only compares."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ops.alertmanager.routing import write_routing
from ops.errors import OpsError, WrongUsage
from ops.objectives import Server, read_objectives
from ops.rules.burn_rates import objective_groups
from ops.rules.deployment import Deployment, read_steps
from ops.rules.kubernetes import kubernetes_group
from ops.rules.rule import write_groups
from ops.rules.serving import serving_group
from ops.rules.symptoms import symptom_group
from ops.settings import REPOSITORY, ROOT

OUTPUT = ROOT / "ops"
RULES = Path("rules/triptych.yaml")
KUBERNETES_RULES = Path("rules/kubernetes.yaml")
ROUTING = Path("alertmanager/alertmanager.yaml")


def read_deployment(
    repository: Path = REPOSITORY, *, release: str | None = None, profile: str | None = None, time_scale: float = 1.0
) -> Deployment:
    """The deployment of `slo.yaml`, with another release or profile where one is given ('' is none).

    Raises:
        OpsError: the objectives or the ensemble's config are not right.
        WrongUsage: the release is not one.
    """
    objectives = read_objectives(repository)
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
    """Every derived file by its path below the output folder."""
    # Imported late: only this needs the dashboard builder, which takes half a second.
    from ops.dashboards.files import write_dashboards

    return {**render_rules(deployment), ROUTING: write_routing(), **write_dashboards(deployment)}


def render_rules(deployment: Deployment) -> dict[Path, str]:
    runbooks = deployment.objectives.runbooks
    groups = [*objective_groups(deployment), serving_group(deployment), symptom_group(deployment)]
    return {
        RULES: write_groups(groups, runbooks),
        KUBERNETES_RULES: write_groups([kubernetes_group(deployment)], runbooks),
    }


def write(deployment: Deployment, output: Path) -> list[Path]:
    """Writes what differs; returns those paths."""
    changed = find_differences(deployment, output)
    files = render(deployment)
    for path in changed:
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        (output / path).write_text(files[path], encoding="utf-8")
    return changed


def find_differences(deployment: Deployment, output: Path) -> list[Path]:
    """The files below `output` that are missing, or are not what would be rendered."""
    return [path for path, text in render(deployment).items() if not _holds(output / path, text)]


def check(deployment: Deployment, output: Path) -> None:
    """Raises:
    OpsError: a rendered file is missing or differs, by name.
    """
    different = find_differences(deployment, output)
    if different:
        names = ", ".join(str(output / path) for path in different)
        raise OpsError(f"Not what ops/slo.yaml and the code make: {names}. Run `make generate` and commit the result.")


def _holds(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text(encoding="utf-8") == text
