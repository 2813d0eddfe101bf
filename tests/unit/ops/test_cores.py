import os
from pathlib import Path

import pytest

from ops.cores import available_cores, read_quota

CGROUP_FILES = {
    "v2": ("0::/pod/container\n", {"pod/container/cpu.max": "max 100000\n", "pod/cpu.max": "150000 100000\n"}, 1.5),
    "v2 from the host's view": ("0::/elsewhere/x\n", {"cpu.max": "50000 100000\n"}, 0.5),
    "v1": (
        "4:cpu,cpuacct:/docker/1\n3:memory:/docker/1\n",
        {"cpu,cpuacct/docker/1/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n"},
        3.0,
    ),
    "v1 without a limit": (
        "4:cpu:/a\n",
        {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
        None,
    ),
    "v2 without a limit": ("0::/\n", {"cpu.max": "max 100000\n"}, None),
}


@pytest.mark.parametrize(("membership", "files", "quota"), CGROUP_FILES.values(), ids=CGROUP_FILES)
def test_quota_is_the_tightest_on_the_way_up(
    tmp_path: Path, membership: str, files: dict[str, str], quota: float | None
) -> None:
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "membership").write_text(membership)
    assert read_quota(tmp_path / "cgroup", tmp_path / "membership") == quota


def test_cores_are_those_bound_to_when_there_is_no_quota(tmp_path: Path) -> None:
    assert available_cores(tmp_path, tmp_path / "absent") == len(os.sched_getaffinity(0))


def test_cores_are_the_quota_when_it_is_smaller(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("25000 100000")
    (tmp_path / "membership").write_text("0::/")
    assert available_cores(tmp_path, tmp_path / "membership") == 0.25
