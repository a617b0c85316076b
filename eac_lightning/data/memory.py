"""How much memory there is."""

import os
from pathlib import Path

from eac_lightning.data.sources import local_processes


def available_memory() -> int:
    """Return how many bytes each process of this machine's training may still take."""
    free = []
    try:
        meminfo = Path("/proc/meminfo").read_text()
        free.append(int(meminfo.split("MemAvailable:")[1].split()[0]) * 1024)
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        told = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        cached = int(told.get("inactive_file", 0))  # counts as used, and goes when something else needs the room
        free.append(limit - int((group / "memory.current").read_text()) + cached)
    except (OSError, ValueError, IndexError):
        pass  # another system than Linux, or no limit ("max")
    if not free and hasattr(os, "sysconf"):
        free.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(free, default=0) // local_processes()
