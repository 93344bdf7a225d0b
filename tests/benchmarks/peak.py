"""The peak memory of a process; a module of its own, so that asking for it costs none."""

from __future__ import annotations

import re
import resource
from pathlib import Path


def peak_megabytes() -> float:
    """The highest resident memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss there: a child begins with its parent's.
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(encoding="ascii"), re.MULTILINE)
        if found is not None:
            return int(found[1]) * 1024 / 1_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_000_000  # macOS counts bytes
