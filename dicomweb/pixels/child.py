"""The program of the child processes that touch pixels: one task after another, until nobody asks any more.

It sets its own limits before it imports a decoder: memory, processor time of each task, no file written, no
process started. Rule: a task that raises `PixelsUnreadable` or runs out of memory is answered; anything else
that goes wrong with the process is seen by the parent, which replaces it.
"""

import resource
import socket
import sys
from typing import Any

from dicomweb.pixels.channel import Channel, ChannelClosed
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.tasks import task_of

Json = Any

MAX_OPEN_FILES = 64
CPU_GRACE_S = 2  # beyond the wall clock, by which the parent goes; this one also ends an orphan


def main() -> None:
    """Serve the socket that is standard input.

    Arguments: bytes of address space, seconds of one task, seconds without any.
    """
    memory, task_s, idle_s = (int(each) for each in sys.argv[1:4])
    confine(memory)
    with socket.socket(fileno=0) as own:
        serve(Channel(own), task_s, idle_s)


def confine(memory: int) -> None:
    """Limit this process for good (setrlimit(2))."""
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))


def serve(channel: Channel, task_s: int, idle_s: int) -> None:
    """Answer until the parent hangs up or has been silent for `idle_s`."""
    while True:
        try:
            channel.give_up_after(idle_s)
            header, body = channel.receive()
        except (ChannelClosed, TimeoutError):
            return
        _allow_cpu(task_s + CPU_GRACE_S)
        reply, result = answer(header, body)
        channel.give_up_after(task_s)
        channel.send(reply, result)


def answer(header: dict[str, Json], body: bytes) -> tuple[dict[str, Json], bytes]:
    """The reply to one task."""
    try:
        made, result = task_of(header["task"])(header["header"], body)
    except PixelsUnreadable as fault:
        return {"status": "refused", "why": str(fault)}, b""
    except MemoryError:
        return {"status": "refused", "why": "The frame takes more memory than it may.", "worn": True}, b""
    except Exception as error:  # noqa: BLE001 - the outermost layer of the process
        return {"status": "failed", "error": type(error).__name__, "at": _place(error)}, b""
    return {"status": "done", "header": made}, result


def _place(error: Exception) -> str:
    """Where our own code failed; never the message, which may quote data."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return f"{at.tb_frame.f_code.co_filename.rpartition('/')[2]}:{at.tb_lineno}" if at else ""


def _allow_cpu(seconds: int) -> None:
    """Processor time until the kernel ends this process, from now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, resource.RLIM_INFINITY))
