from __future__ import annotations

import json
from pathlib import Path

import pytest
from loky import cpu_count

from ops.sizing import describe_misfit, describe_sizing

CONFIG = """backend: "python"
instance_group [ { kind: KIND_CPU count: 2 } ]
parameters { key: "lone_threads" value { string_value: "4" } }
"""


def test_sizing_names_processes_and_threads_of_the_chosen_profile(tmp_path: Path) -> None:
    (tmp_path / "models/one/configs").mkdir(parents=True)
    (tmp_path / "models/one/config.pbtxt").write_text('platform: "ensemble"')
    (tmp_path / "models/one/configs/cpu.pbtxt").write_text(CONFIG)
    assert describe_sizing(tmp_path, "cpu") == "one x 2 (threads for a lone request 4)"
    assert describe_sizing(tmp_path, None) == ""


@pytest.mark.parametrize(("extra_cores", "profile", "is_told"), [(0, "cpu", False), (6, "cpu", True), (6, None, False)])
def test_misfit_is_told_when_placed_for_other_cores(
    tmp_path: Path, extra_cores: int, profile: str | None, is_told: bool
) -> None:
    manifest = {"inputs": {"sizing": {"cores": cpu_count() + extra_cores}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    misfit = describe_misfit(tmp_path, profile)
    assert (misfit is not None) == is_told
    if misfit is not None:
        assert f"sized for {cpu_count() + extra_cores} cores, {cpu_count()} are seen here" in misfit


def test_misfit_is_not_told_when_nothing_says_what_was_placed(tmp_path: Path) -> None:
    assert describe_misfit(tmp_path, "cpu") is None
