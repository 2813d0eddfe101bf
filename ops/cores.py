"""How many cores this process may use: those it is bound to, and what its control groups grant."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float:
    quota = read_quota(cgroups, membership)
    bound = float(len(os.sched_getaffinity(0)))
    return bound if quota is None else min(bound, quota)


def read_quota(cgroups: Path, membership: Path) -> float | None:
    """The tightest CPU quota from this process's control group up to the root, version 1 or 2; None without one."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            quotas += _quotas_upward(cgroups, path, _quota_v2)
        elif "cpu" in controllers.split(","):
            quotas += _quotas_upward(cgroups / "cpu", path, _quota_v1)
            quotas += _quotas_upward(cgroups / controllers, path, _quota_v1)
    return min(quotas, default=None)


def _quotas_upward(mount: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    """Inside a container `path` may be the host's, which is not under `mount`: then only the root answers."""
    folder = mount / path.strip("/")
    quotas = [read(group) for group in (folder, *folder.parents) if group == mount or mount in group.parents]
    return [quota for quota in quotas if quota is not None]


def _quota_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
    except OSError:
        return None
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(group: Path) -> float | None:
    try:
        quota_us = int((group / "cpu.cfs_quota_us").read_text())
        period_us = int((group / "cpu.cfs_period_us").read_text())
    except OSError:
        return None
    return None if quota_us < 0 else quota_us / period_us
