"""Tasks that behave badly, for the pool's tests; run in children only."""

import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any

Json = Any
Answer = tuple[dict[str, Json], bytes]


def echo(header: dict[str, Json], body: bytes) -> Answer:
    return {"pid": os.getpid(), **header}, body


def die(header: dict[str, Json], body: bytes) -> Answer:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}, b""


def hang(header: dict[str, Json], body: bytes) -> Answer:
    threading.Event().wait()
    return {}, b""


def hold(header: dict[str, Json], body: bytes) -> Answer:
    """Say that it has begun, and go on when told."""
    with Path(header["begun"]).open("rb+", buffering=0) as pipe:
        pipe.write(b"!")
    with Path(header["go"]).open("rb") as pipe:
        pipe.read(1)
    return {}, body


def eat(header: dict[str, Json], body: bytes) -> Answer:
    return {}, bytes(header["bytes"])


def stumble(header: dict[str, Json], body: bytes) -> Answer:
    raise ValueError("Doe^Jane")


def confinement(header: dict[str, Json], body: bytes) -> Answer:
    kinds = ("RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_NPROC", "RLIMIT_CPU")
    limits = {kind: resource.getrlimit(getattr(resource, kind))[0] for kind in kinds}
    return {"limits": limits, "environment": sorted(os.environ)}, b""
