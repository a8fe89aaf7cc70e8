"""What a process takes: memory, processor, open files, and how late its event loop is.

`watch_process` runs in every process of ours, beside its work, and reports for its role. The worker's
children are the models' processes, which report nothing themselves: their memory is the role `model`.
What comes from /proc is told on Linux only.
"""

import asyncio
import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from server.kernel.metrics import QUICK_S, Fact, counter, fact, gauge, histogram

BEAT_S = 0.5  # between measurements of the loop
BEATS = 10  # until the process is looked at again

_PROCESSES = gauge("isthmus_processes", "Living processes.", ("role",))
_MEMORY = gauge("isthmus_process_resident_memory_bytes", "Resident memory.", ("role",))
_CPU = counter("isthmus_process_cpu_seconds", "Processor time used, user and system.", ("role",))
_FILES = gauge(
    "isthmus_process_open_files", "Open file descriptors, of the process with most.", ("role",), "livemax"
)
_FILES_LIMIT = gauge(
    "isthmus_process_open_files_limit", "Most that one process may have.", ("role",), "livemin"
)
_LAG = histogram("isthmus_event_loop_lag_seconds", "How late the event loop woke up.", ("role",), QUICK_S)

_PAGE = resource.getpagesize()
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # version 1 writes its "no limit" as a huge number


class Role(Enum):
    """What a process of ours is."""

    SERVER = "server"
    WORKER = "worker"
    MODEL = "model"


async def watch_process(role: Role, stop: asyncio.Event, more: Callable[[], None] = lambda: None) -> None:
    """Report until `stop`; `more` reports what else is sampled with it."""
    _PROCESSES.labels(role.value).set(1)
    lag, loop = _LAG.labels(role.value), asyncio.get_running_loop()
    used_s, beats = 0.0, 0
    while not stop.is_set():
        if beats % BEATS == 0:
            used_s = _look(role, used_s)
        more()
        due = loop.time() + BEAT_S
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), BEAT_S)
        if not stop.is_set():
            lag.observe(max(0.0, loop.time() - due))
        beats += 1


def memory_facts() -> list[Fact]:
    """Memory in use by everything that shares a limit with us, and the limit: our control group's.

    Without one the machine's memory is the limit, and what is not available of it is in use.
    """
    used, limit = _of_control_group() or _of_machine()
    return [
        fact("isthmus_memory_used_bytes", "Memory in use below the limit, without file cache.", used),
        fact("isthmus_memory_limit_bytes", "Memory that may be used.", limit),
    ]


def disk_facts(folder: Path) -> list[Fact]:
    """Room on the disk of the data folder."""
    disk = os.statvfs(folder)
    return [
        fact(
            "isthmus_disk_free_bytes",
            "Free room on the disk of the data folder.",
            disk.f_bavail * disk.f_frsize,
        ),
        fact(
            "isthmus_disk_size_bytes", "Size of the disk of the data folder.", disk.f_blocks * disk.f_frsize
        ),
    ]


def _look(role: Role, used_before_s: float) -> float:
    """Report memory, files and processor time; returns the processor time used so far."""
    used_s = time.process_time()
    _CPU.labels(role.value).inc(max(0.0, used_s - used_before_s))
    own = os.getpid()
    _MEMORY.labels(role.value).set(_resident_bytes(own))
    if role is Role.WORKER:
        models = _descendants(own)
        _MEMORY.labels(Role.MODEL.value).set(sum(map(_resident_bytes, models)))
        _PROCESSES.labels(Role.MODEL.value).set(len(models))
    _FILES_LIMIT.labels(role.value).set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    with suppress(OSError):
        _FILES.labels(role.value).set(len(os.listdir("/proc/self/fd")))  # noqa: PTH208  names only
    return used_s


def _resident_bytes(process: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    return 0


def _descendants(process: int) -> list[int]:
    """The children of a process, their children, and so on."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parent = int(
                path.read_text().rpartition(")")[2].split()[1]
            )  # after the name, which may hold anything
            children.setdefault(parent, []).append(int(path.parent.name))
    found = list(children.get(process, ()))
    for each in found:  # grows as it goes
        found.extend(children.get(each, ()))
    return found


def _of_control_group() -> tuple[int, int] | None:
    """(bytes in use, limit) of our control group, as Kubernetes counts; None: it has no limit."""
    v2 = _Accounts("memory.current", "memory.max", "inactive_file")
    v1 = _Accounts("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")
    return v2.read(_CONTROL_GROUPS, "") or v1.read(_CONTROL_GROUPS / "memory", "memory")


@dataclass(frozen=True, slots=True)
class _Accounts:
    """The files of one version of control groups."""

    usage: str
    limit: str
    cache: str  # field of memory.stat: what the kernel takes back when it needs it

    def read(self, root: Path, controller: str) -> tuple[int, int] | None:
        """(bytes in use, limit) of the group we are in, or of the root, which in a container is ours."""
        for folder in (root / _own_group(controller), root):
            with suppress(OSError, ValueError):  # absent, or "max"
                limit = int((folder / self.limit).read_text())
                fields = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                if limit < _UNLIMITED:
                    used = int((folder / self.usage).read_text()) - int(fields.get(self.cache, 0))
                    return max(0, used), limit
        return None


def _own_group(controller: str) -> str:
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == controller:
                return path.lstrip("/")
    return ""


def _of_machine() -> tuple[int, int]:
    with suppress(OSError, ValueError, KeyError):
        lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        kib = {words[0]: int(words[1]) for words in lines}
        return (kib["MemTotal:"] - kib["MemAvailable:"]) << 10, kib["MemTotal:"] << 10
    return 0, 0
