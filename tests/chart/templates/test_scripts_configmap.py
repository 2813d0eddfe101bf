"""scripts-configmap.yaml: the scripts that run inside the serving image."""

from __future__ import annotations

import re

from tests.chart.matrix import TOGGLES
from tests.chart.rendering import CHART, render


def test_scripts_are_those_of_the_files() -> None:
    data = render().one("ConfigMap", "-scripts")["data"]
    assert data
    for name, text in data.items():
        assert text.rstrip() == (CHART / "files" / name).read_text().rstrip()
        compile(text, name, "exec")


def test_every_script_that_is_run_is_there() -> None:
    for toggle in ("defaults", "deep-always", "repository-pvc"):
        rendered = render(TOGGLES[toggle])
        wanted = set(re.findall(r"/opt/triptych/scripts/([\w.]+)", rendered.text))
        assert wanted
        assert wanted <= set(rendered.one("ConfigMap", "-scripts")["data"])


def test_changed_script_makes_new_pods() -> None:
    assert len(render().pod()["metadata"]["annotations"]["triptych-scripts"]) == 64
