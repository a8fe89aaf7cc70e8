"""Whether this system can shut a model in (what that means: `confine`), found out by doing it once."""

import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ai_engine.runners.channel import HEADER, LIBRARIES, PROGRAM, environment

PROBE_TIMEOUT_S = 20.0  # a busy machine starts Python slowly
PROBE_MEMORY_MB = 512


@dataclass(frozen=True, slots=True)
class SandboxSupport:
    """What the probe found."""

    available: bool
    reason: str  # "" when available, else what is missing, for the operator


def start_message(
    folders: Mapping[str, str],
    program: Mapping[str, Any] | None,
    hidden: Sequence[str],
    memory_mb: int,
    devices: Sequence[str] = (),
) -> dict[str, Any]:
    """The first message to a child; `folders`: `bundle` and `private`. Without a program it only probes."""
    return {
        **folders,
        "program": program,
        "sandbox": True,
        "libraries": list(LIBRARIES),
        "hidden": list(hidden),
        "memory_mb": memory_mb,
        "devices": list(devices),
        "parent": os.getpid(),
    }


@functools.cache
def probe_sandbox() -> SandboxSupport:
    """Start a child that shuts itself in and loads nothing; the answer is kept for this process. Blocks."""
    if not sys.platform.startswith("linux"):
        return SandboxSupport(available=False, reason="only Linux has the namespaces a sandbox needs")
    with tempfile.TemporaryDirectory(prefix="isthmus-probe-") as private:
        try:
            reply = _ask_once(private)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return SandboxSupport(available=False, reason="the probe ended without an answer")
    if reply.get("status") == "ready":
        return SandboxSupport(available=True, reason="")
    return SandboxSupport(available=False, reason=refusal(str(reply.get("step")), int(reply.get("errno", 0))))


def refusal(step: str, errno: int) -> str:
    """What to tell the operator about a step that the system refused."""
    return f"the system refused {step} ({os.strerror(errno)}); allow user namespaces (Linux 5.12 or later)"


def _ask_once(private: str) -> dict[str, Any]:
    message = json.dumps(
        start_message({"bundle": private, "private": private}, None, (), PROBE_MEMORY_MB)
    ).encode()
    own, theirs = socket.socketpair()
    with own, theirs:
        own.sendall(HEADER.pack(len(message)) + message)
        subprocess.run(  # noqa: S603 - our own program, no argument from data
            [sys.executable, "-I", "-B", "-c", PROGRAM],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(environment(1)),
            cwd="/",
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
        theirs.close()
        answer = own.recv(4096)
    loaded: dict[str, Any] = json.loads(answer[HEADER.size :])
    return loaded
