"""The program of a runner's child process: shuts itself in, loads a bundle's function, and serves requests.

The channel is a Unix stream socket. A message is its length (4 bytes, big endian) and that much JSON; a
request brings two file descriptors along (`SCM_RIGHTS`) for each of its volumes: the voxels, and room for the
labels. Nothing is pickled.
Standard output and error lead nowhere: model code may print what it likes.

Rule: nothing of this project but `confine` is imported, and numpy only after the walls are up. So are our own
programs, of which nothing but the folder of this file is to be seen inside.
"""

import errno
import gc
import importlib
import json
import math
import mmap
import os
import shutil
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ai_engine.runners import confine

Json = Any
Entry = Callable[..., Any]

HEADER = struct.Struct(">I")
MAX_REQUEST_BYTES = 1 << 20
FDS_PER_VOLUME = 2
MOST_VOLUMES = 8  # of one request; `manifest.Runtime.batch` is no larger


class BadResult(Exception):
    """What the model returned cannot be told to the parent; the text is ours, never the model's."""


class Channel:
    """The child's end of the socket; blocking."""

    def __init__(self, own: socket.socket) -> None:
        own.setblocking(True)
        self._socket = own

    def receive(self) -> tuple[Json, list[int]]:
        """The next message and its descriptors; ends the process when the parent has closed."""
        head, fds, _, _ = socket.recv_fds(self._socket, HEADER.size, FDS_PER_VOLUME * MOST_VOLUMES)
        head += self._read(HEADER.size - len(head))
        (length,) = HEADER.unpack(head)
        if length > MAX_REQUEST_BYTES:
            sys.exit(1)
        return json.loads(self._read(length)), list(fds)

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                sys.exit(0)
            data += piece
        return bytes(data)

    def send(self, message: Json) -> None:
        body = json.dumps(message).encode()
        self._socket.sendall(HEADER.pack(len(body)) + body)


def load_entry(bundle: str, entry: str) -> Entry:
    """The function `module:name` of the bundle, which is on `sys.path` in this process only."""
    sys.path.insert(0, bundle)
    sys.dont_write_bytecode = True
    module, _, name = entry.partition(":")
    found = getattr(importlib.import_module(module), name)
    if not callable(found):
        raise TypeError
    return found  # type: ignore[no-any-return]


def one_by_one(entry: Entry) -> Entry:
    """A function of single volumes, as one of several."""

    def run(voxels: list[Any], affines: list[Any], parameters: Json) -> list[Any]:
        return [entry(*pair, parameters) for pair in zip(voxels, affines, strict=True)]

    return run


def load(start: Json, bundle: str) -> Entry:
    """What answers requests: the bundle's own function, or one of our programs with the bundle's files."""
    from ai_engine.runners.from_source import read_source_only

    read_source_only(bundle)
    program = start["program"]
    if program["name"]:
        made: Entry = importlib.import_module(f"ai_engine.runners.{program['name']}_program").load
        return made(bundle, program["options"])  # type: ignore[no-any-return]
    entry = load_entry(bundle, program["entry"])
    return entry if program["takes_several"] else one_by_one(entry)


def view(fd: int, dtype: str, shape: list[int], *, writable: bool) -> Any:
    """An array over the shared memory behind `fd`; closes `fd`, the memory stays with the array."""
    import numpy as np

    access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
    count = int(np.prod(shape))
    try:
        memory = mmap.mmap(fd, count * np.dtype(dtype).itemsize, access=access)
    finally:
        os.close(fd)
    return np.frombuffer(memory, dtype=dtype, count=count).reshape(shape)


def run_once(run: Entry, request: Json, fds: list[int]) -> Json:
    """One call of the model, and the reply it makes; labels go into the second descriptor of their volume."""
    import numpy as np

    asked = request["volumes"]
    rooms = [room_of(fds[2 * n + 1], one) for n, one in enumerate(asked)]
    voxels = [view(fds[2 * n], one["dtype"], one["shape"], writable=False) for n, one in enumerate(asked)]
    affines = [None if one["images"] else np.array(one["affine"], dtype=np.float64) for one in asked]
    given = [pictures(*pair) for pair in zip(voxels, (one["images"] for one in asked), strict=True)]
    results = run(given, affines, request["parameters"])
    if not isinstance(results, list) or len(results) != len(asked):
        raise BadResult("the model returned no list of one result for each volume")
    return {"status": "done", "results": list(map(told, results, rooms))}


def room_of(fd: int, one: Json) -> Any:
    """Room for the labels of a volume, and for as many fractions behind: (1 + fractions, …)."""
    slices, rows, columns = one["shape"]
    room = view(fd, "uint8", [(1 + one["fractions"]) * slices, rows, columns], writable=True)
    return room.reshape(1 + one["fractions"], slices, rows, columns)


def pictures(voxels: Any, described: Json) -> Any:
    """The voxels of a volume as they are; of radiographs a list, each picture without what fills its row."""
    if not described:
        return voxels
    return [
        {**one, "pixels": each[: one["rows"], : one["columns"]]}
        for each, one in zip(voxels, described, strict=True)
    ]


def told(result: Any, room: Any) -> Json:
    """What the model returned for one volume, in JSON's types."""
    if not isinstance(result, Mapping):
        raise BadResult("the model returned no mapping")
    return {
        "labels": hand_over(result.get("labels"), room[0]),
        "fractions": hand_over_fractions(result.get("fractions"), room[1:]),
        "values": [plain_value(value) for value in result.get("values") or ()],
        "not_measured": plain_texts(result.get("not_measured") or {}, "not_measured"),
        "detections": [plain_detection(each) for each in result.get("detections") or ()],
        "scores": [plain_score(each) for each in result.get("scores") or ()],
        "quality": plain_texts(result.get("quality") or {}, "quality"),
    }


def hand_over(labels: Any, room: Any) -> Json:
    """Copy the labels into shared memory where they fit; either way say what they are."""
    import numpy as np

    if labels is None:
        return None
    if not isinstance(labels, np.ndarray):
        raise BadResult("labels is not an array")
    if labels.shape == room.shape and labels.dtype == room.dtype:
        room[...] = labels
    return {"shape": list(labels.shape), "dtype": str(labels.dtype)}


def hand_over_fractions(fractions: Any, room: Any) -> bool:
    """Copy how likely our own programs say that segments are to where there is room; whether there was."""
    if fractions is None or not len(room) or getattr(fractions, "shape", None) != room.shape:
        return False
    room[...] = fractions
    return True


def plain_value(value: Any) -> Json:
    """One value in JSON's types; a number that is not finite is null, for JSON has no other word."""
    import numpy as np

    try:
        name, number, slice_index = value["name"], float(value["value"]), value.get("slice_index")
        index = None if slice_index is None else int(slice_index)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        raise BadResult("a value is not {name, value, slice_index?}") from None
    if not isinstance(name, str):
        raise BadResult("a value's name is no text")
    return {"name": name, "value": number if np.isfinite(number) else None, "slice_index": index}


def plain_detection(detection: Any) -> Json:
    """One detection in JSON's types: what its fields are is checked by the parent."""
    try:
        return {
            **plain_score(detection),
            "center": plain_numbers(detection["center"]),
            "label": None if detection.get("label") is None else int(detection["label"]),
            "long_axis": plain_pair(detection.get("long_axis")),
            "box": plain_pair(detection.get("box")),
            "side": None if detection.get("side") is None else str(detection["side"]),
            "values": [plain_value(value) for value in detection.get("values") or ()],
        }
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        raise BadResult("a detection is not {name, probability, center, …}") from None


def plain_score(score: Any) -> Json:
    """A name with its probability; a number that is not finite is null."""
    try:
        name, uncertainty = score["name"], score.get("uncertainty")
        (probability,) = plain_numbers([score["probability"]])
        spread = None if uncertainty is None else float(uncertainty)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        raise BadResult("a score is not {name, probability, uncertainty?}") from None
    if not isinstance(name, str):
        raise BadResult("a score's name is no text")
    if spread is not None and not math.isfinite(spread):
        raise BadResult("an uncertainty is not finite")
    return {"name": name, "probability": probability, "uncertainty": spread}


def plain_pair(points: Any) -> Json:
    """Two points, or None."""
    return None if points is None else [plain_numbers(point) for point in points]


def plain_numbers(numbers: Any) -> list[float | None]:
    """Numbers as floats; one that is not finite is null."""
    return [number if math.isfinite(number) else None for number in map(float, numbers)]


def plain_texts(texts: Any, what: str) -> Json:
    """A mapping of names to texts."""
    if not isinstance(texts, Mapping):
        raise BadResult(f"{what} is no mapping")
    if not all(isinstance(text, str) for pair in texts.items() for text in pair):
        raise BadResult(f"{what} holds something that is no text")
    return dict(texts)


def place_of(error: BaseException, bundle: str) -> str:
    """Where in the bundle it was raised: file and line, no value and no message."""
    inside = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(bundle)
    ]
    if not inside:
        return "outside the bundle"
    return f"{Path(inside[-1].filename).relative_to(bundle)}:{inside[-1].lineno}"


def answer_of(error: BaseException, bundle: str) -> Json:
    """The reply to a call that raised."""
    if isinstance(error, BadResult):
        return {"status": "invalid", "reason": str(error)}
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return {"status": "out-of-memory"}
    return {"status": "raised", "type": type(error).__name__, "where": place_of(error, bundle)}


def tidy(temp: str) -> None:
    """Leave nothing of one run to the next: stray processes, temporary files, garbage."""
    confine.end_strays()
    for left in Path(temp).iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    gc.collect()


def shut_in(start: Json) -> tuple[str, str]:
    """Raise the walls; the bundle's folder and the private one, as they are called now."""
    if start["sandbox"]:
        shown = {name: start[name] for name in ("bundle", "libraries", "hidden", "memory_mb", "devices")}
        walls = confine.Walls(mount_point=start["private"], engine=str(Path(__file__).parent), **shown)
        confine.enter_sandbox(walls, start["parent"])
    else:
        confine.die_with_parent(start["parent"])
        os.chdir(start["private"])
    confine.forbid_new_privileges()
    confine.limit_resources(
        start["memory_mb"], own_user_namespace=start["sandbox"], on_gpu=bool(start["devices"])
    )
    if start["sandbox"]:
        return confine.BUNDLE_INSIDE, confine.TEMP_INSIDE
    return start["bundle"], start["private"]


def serve(channel: Channel) -> None:
    """Shut in, load, say ready, then answer until the channel closes."""
    start, _ = channel.receive()
    try:
        bundle, temp = shut_in(start)
    except confine.ConfinementFailed as failed:
        channel.send({"status": "unconfined", "step": failed.step, "errno": failed.errno})
        return
    sys.path.extend(path for path in start["libraries"] if path not in sys.path)
    if start["program"] is None:  # a probe: the walls were all that was asked
        channel.send({"status": "ready"})
        return
    try:
        run = load(start, bundle)
    except BaseException as error:  # noqa: BLE001 - model code may raise anything, SystemExit too
        channel.send(answer_of(error, bundle))
        return
    channel.send({"status": "ready"})
    while True:
        request, fds = channel.receive()
        try:
            reply = run_once(run, request, fds)
        except BaseException as error:  # noqa: BLE001 - as above
            reply = answer_of(error, bundle)
        tidy(temp)
        channel.send(reply)


def main() -> None:
    """Take the channel off standard input, where the parent put it, and serve."""
    own = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    serve(Channel(own))
