"""Shuts a process in, from the inside: what the child of a runner does to itself before it loads model code.

Enforced on Linux 5.12+ where user namespaces are allowed:
- no network (an empty network namespace: not even loopback is up), no System V IPC of others;
- no process of others in sight, and every descendant dies with the child (process id namespace);
- the file system is a new root that holds, read-only: the system's libraries, the Python installation, the
  bundle at `/bundle`; and a private, bounded folder where `/tmp` leads. Whatever else the machine has (the
  data folder, homes, secrets) is not there; `hidden` paths inside the shown ones are covered as well;
- no capability, no new privileges, no further user namespace (where /proc can be mounted).
- a GPU only where it is asked for: then the devices of NVIDIA's driver are there, and /sys of the machine.
Enforced everywhere: address space (on a GPU private memory instead: CUDA reserves more addresses than it
uses), file size, open files and core dumps by limits; where the process counter is per user namespace (Linux
5.14+, not started by root) the number of processes too. Not enforced: system call filtering, and CPU time
(the parent's wall clock ends a run).

Rule: standard library only, nothing of this project; it runs before anything else is imported.
"""

import ctypes
import os
import resource
import select
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000  # sched.h
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18  # sys/mount.h
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # sys/prctl.h
SYS_MOUNT_SETATTR = 442  # the same number on every architecture Python runs on
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
LINUX_CAPABILITY_VERSION_3 = 0x20080522

NOBODY = 65534  # who the child is inside its user namespace
BUNDLE_INSIDE = "/bundle"
TEMP_INSIDE = "/model-temp"  # the private tmpfs of the new root, where nothing else is ever shown
MAX_OPEN_FILES = 256
MAX_PROCESSES = 256  # threads count; numerical libraries start one per core in places
SYSTEM_PATHS = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/sys/devices/system/cpu"),
)
GPU_PATHS = ("/sys/devices", "/sys/bus/pci", "/sys/module")  # where CUDA looks for its devices
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class ConfinementFailed(Exception):
    """A step the system refused; `errno` says why."""

    def __init__(self, step: str, errno: int) -> None:
        super().__init__(f"{step}: {os.strerror(errno)}")
        self.step = step
        self.errno = errno


@dataclass(frozen=True, slots=True)
class Walls:
    """What the child may see and use."""

    bundle: str  # folder shown read-only at BUNDLE_INSIDE
    mount_point: str  # an empty private folder, covered by the new root
    libraries: Sequence[str]  # folders with importable packages
    hidden: Sequence[str]  # files and folders covered even where they lie in a shown folder
    memory_mb: int
    devices: Sequence[str]  # of a GPU
    engine: str  # the folder of this file, for our own programs


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(step: str, result: int) -> None:
    if result != 0:
        raise ConfinementFailed(step, ctypes.get_errno())


def die_with_parent(parent_pid: int | None = None) -> None:
    """Be killed when the parent ends (prctl(2) PR_SET_PDEATHSIG); a change of credentials forgets it."""
    if not sys.platform.startswith("linux"):
        return
    _check("pdeathsig", _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    if parent_pid is not None and os.getppid() != parent_pid:
        os._exit(1)  # it ended before the line above


def limit_resources(memory_mb: int, *, own_user_namespace: bool, on_gpu: bool = False) -> None:
    """Set the resource limits of this process and its children (setrlimit(2)); nothing raises them again.

    CUDA reserves addresses for all memory of the machine and its GPUs, without access and without cost: on a
    GPU the limit is on private writable memory (RLIMIT_DATA counts it since Linux 4.7), not on addresses.
    """
    limits = {
        resource.RLIMIT_DATA if on_gpu else resource.RLIMIT_AS: memory_mb << 20,
        resource.RLIMIT_FSIZE: memory_mb << 20,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    if own_user_namespace and _kernel() >= (5, 14):
        limits[resource.RLIMIT_NPROC] = MAX_PROCESSES  # before, it counted the user's other processes
    for which, limit in limits.items():
        _, hard = resource.getrlimit(which)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(which, (allowed, allowed))


def _kernel() -> tuple[int, int]:
    major, minor, *_ = os.uname().release.split("-")[0].split(".")
    return int(major), int(minor)


def forbid_new_privileges() -> None:
    """No set-user-ID program raises this process any more (prctl(2) PR_SET_NO_NEW_PRIVS)."""
    if sys.platform.startswith("linux"):
        _check("no_new_privs", _libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def enter_sandbox(walls: Walls, parent_pid: int) -> None:
    """Move into new namespaces and a new root; only the confined process returns.

    The process that called stays outside the process namespace, waits, and ends with the confined one's
    status (128 + n for signal n). Must run before any thread is started.

    Raises:
        ConfinementFailed: the system refused a step.
    """
    _unshare_all()
    die_with_parent(parent_pid)
    alive, outside = os.pipe()
    confined = os.fork()
    if confined:
        _wait_and_end_like(confined, keep=outside)
    os.close(outside)
    die_with_parent()
    if select.select([alive], [], [], 0)[0]:
        os._exit(1)  # the waiting process ended before the line above
    os.close(alive)
    _change_root(walls)
    _drop_capabilities()
    die_with_parent()


def _unshare_all() -> None:
    uid, gid = os.getuid(), os.getgid()
    everything = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    _check("unshare", _libc().unshare(everything))
    _write_map("setgroups", "deny")
    _write_map("uid_map", f"{NOBODY} {uid} 1")
    _write_map("gid_map", f"{NOBODY} {gid} 1")


def _write_map(name: str, text: str) -> None:
    try:
        Path("/proc/self", name).write_text(text)
    except OSError as error:
        raise ConfinementFailed(name, error.errno or 0) from None


def _wait_and_end_like(pid: int, *, keep: int) -> None:
    """Wait, holding nothing open but `keep`: the channel must close when the confined process ends."""
    os.closerange(0, keep)
    os.closerange(keep + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    _, status = os.waitpid(pid, 0)
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    encoded = kind.encode() if kind else None
    result = _libc().mount(source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), options.encode())
    _check("mount", result)


class _MountAttr(ctypes.Structure):
    """struct mount_attr (mount_setattr(2))."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def _make_read_only(path: str, *, recursive: bool) -> None:
    wanted = _MountAttr(attr_set=MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)
    flags = AT_RECURSIVE if recursive else 0
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    result = _libc().syscall(
        SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), ctypes.c_uint(flags), ctypes.byref(wanted), size
    )
    _check("mount_setattr", result)


def _show(root: str, source: str, inside: str) -> None:
    """Bind `source` read-only at `inside` of the new root."""
    target = Path(root + inside)
    target.parent.mkdir(parents=True, exist_ok=True)
    if Path(source).is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    _mount(source, str(target), None, MS_BIND | MS_REC)
    _make_read_only(str(target), recursive=True)


def _shown_paths(libraries: Iterable[str]) -> list[str]:
    """What the new root shows under its own name, parents before children, none twice."""
    prefixes = (sys.prefix, sys.base_prefix, *libraries)
    candidates = {*SYSTEM_PATHS, *prefixes, *(os.path.realpath(prefix) for prefix in prefixes)}
    shown: list[str] = []
    for path in sorted(path for path in candidates if path != "/" and Path(path).exists()):
        if not any(path.startswith(f"{above}/") for above in shown):
            shown.append(path)
    return shown


def _change_root(walls: Walls) -> None:
    root = walls.mount_point
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=1m")
    gpu = GPU_PATHS if walls.devices else ()
    for path in _shown_paths((*walls.libraries, walls.engine, *gpu)):
        if Path(path).is_symlink():
            Path(root + path).parent.mkdir(parents=True, exist_ok=True)
            Path(root + path).symlink_to(Path(path).readlink())
        else:
            _show(root, path, path)
    for path in walls.hidden:
        _cover(root + os.path.realpath(path))
    for device in (*DEVICES, *walls.devices):
        _show_device(root, device)
    _make_temp(root, walls.memory_mb)
    _show(root, os.path.realpath(walls.bundle), BUNDLE_INSIDE)
    _mount_proc(root)
    _make_read_only(root, recursive=False)
    _enter_root(root)


def _show_device(root: str, device: str) -> None:
    target = Path(root + device)
    target.parent.mkdir(exist_ok=True)
    target.touch()
    _mount(device, str(target), None, MS_BIND)


def _cover(path: str) -> None:
    if Path(path).is_dir():
        _mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=000,size=4k")
        _make_read_only(path, recursive=False)
    elif Path(path).exists():
        _mount("/dev/null", path, None, MS_BIND)


def _make_temp(root: str, memory_mb: int) -> None:
    Path(root + TEMP_INSIDE).mkdir()
    _mount("tmpfs", root + TEMP_INSIDE, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=700,size={memory_mb}m")
    for usual in ("/tmp", "/dev/shm"):  # noqa: S108 - of the new root
        if not Path(root + usual).exists():  # Python may be installed below it
            Path(root + usual).symlink_to(TEMP_INSIDE)


def _mount_proc(root: str) -> None:
    """A /proc of the new process namespace; some containers refuse it, and then there is none."""
    Path(root + "/proc").mkdir()
    try:
        _mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV)
    except ConfinementFailed:
        return
    try:
        Path(root + "/proc/sys/user/max_user_namespaces").write_text("0")
    except OSError:
        return  # the kernel has no such switch


def _enter_root(root: str) -> None:
    os.chdir(root)
    _check("pivot_root", _libc().pivot_root(b".", b"."))
    _check("umount", _libc().umount2(b".", MNT_DETACH))
    os.chdir(TEMP_INSIDE)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


def _drop_capabilities() -> None:
    """Give up every capability in the own user namespace (capset(2))."""
    header = _CapabilityHeader(LINUX_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _check("capset", _libc().capset(ctypes.byref(header), ctypes.byref(none)))


def end_strays() -> None:
    """Kill every other process of the own process namespace: what a model started and left behind."""
    if os.getpid() != 1:
        return
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
