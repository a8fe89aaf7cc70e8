"""The GPUs of this machine, found by their device files: the worker loads no framework."""

import re
import subprocess
from pathlib import Path

CPU = "cpu"
CUDA = re.compile(r"cuda:(\d{1,3})")
COMMON_DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
MEMORY_UNKNOWN_MB = 4096  # the least a model may count on
QUERY = ("nvidia-smi", "--query-gpu=index,memory.total", "--format=csv,noheader,nounits")
QUERY_TIMEOUT_S = 10.0


def visible_gpus(devices: Path = Path("/dev")) -> tuple[str, ...]:
    """The devices "cuda:N" whose files are here, by number."""
    found = [name.removeprefix("nvidia") for name in (path.name for path in devices.glob("nvidia*"))]
    return tuple(f"cuda:{number}" for number in sorted(int(each) for each in found if each.isdecimal()))


def gpu_of(device: str) -> str:
    """The number of a GPU as CUDA_VISIBLE_DEVICES takes it; "": the device is the CPU."""
    match = CUDA.fullmatch(device)
    return match[1] if match else ""


def gpu_devices(number: str, devices: Path = Path("/dev")) -> list[str]:
    """The device files that CUDA needs for this one GPU."""
    names = (f"nvidia{number}", *COMMON_DEVICES)
    return [str(devices / name) for name in names if (devices / name).exists()]


def memory_of_gpus() -> dict[str, int]:
    """Memory in MiB by device, as the driver's own tool says; empty where there is none. Blocks."""
    try:
        said = subprocess.run(  # noqa: S603 - our own words
            QUERY, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.split(",") for line in said.stdout.splitlines() if line.count(",") == 1)
    return {f"cuda:{int(number)}": int(memory) for number, memory in pairs}
