"""Memory that this process may still use."""

from __future__ import annotations

from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
"""Where Linux shows the limits of containers and batch systems."""


def available_memory(info: Path = Path("/proc/meminfo")) -> int | None:
    """Return the free memory of the machine or container in bytes; None if unknown.

    The smaller of what the machine has and what the limits of the process's control groups leave.
    Cached files count as free, because the system drops them when memory is needed.
    """
    try:
        lines = info.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min([*free, *limits()], default=None)


def limits(own: Path = Path("/proc/self/cgroup"), groups: Path | None = None) -> list[int]:
    """Return what each limit on the process's control group and its parents leaves, in bytes.

    Parameters
    ----------
    own
        File that names the control groups of the process.
    groups
        Root of the control groups. Default: :data:`GROUPS`.
    """
    groups = GROUPS if groups is None else groups
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    left: list[int | None] = []
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":  # version 2
            root, names = groups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = groups / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = root / path.strip("/")
        parents = [group for group in (folder, *folder.parents) if group.is_relative_to(root)]
        left += [_left(group, *names) for group in parents]
    return [free for free in left if free is not None]


def _left(group: Path, limit: str, used: str, cached: str) -> int | None:
    """Return what a control group may still use in bytes; None without a limit."""
    try:
        most = int((group / limit).read_text(encoding="ascii"))
        now = int((group / used).read_text(encoding="ascii"))
        details = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):  # no limit is "max"
        return None
    pairs = (line.split() for line in details)
    files = sum(int(value) for name, value in pairs if name == cached)
    return max(most - now + files, 0)
