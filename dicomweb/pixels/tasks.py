"""What the child process can be asked for: name -> function, imported when it is first asked for.

A task takes a header (plain values) and a body, and returns both; what it raises as `PixelsUnreadable` is
told to the client. It is pure, for its result is kept and given to others.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

Json = Any
Task = Callable[[dict[str, Json], bytes], tuple[dict[str, Json], bytes]]

TASKS: Mapping[str, str] = {
    "transcode": "dicomweb.pixels.transcode_frame:transcode",
    "render": "dicomweb.render.task:render",
    "read_png": "dicomweb.pixels.png:read_png",
}


@cache
def task_of(name: str) -> Task:
    """The function of a task.

    Raises:
        KeyError: there is none of that name.
    """
    module, _, function = TASKS[name].partition(":")
    found: Task = getattr(import_module(module), function)
    return found
