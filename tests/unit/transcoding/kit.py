"""Stored files as transcoding sees them, and children that are not processes."""

import asyncio
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pydicom
from pydicom.data import get_testdata_file

from dicomweb.pixels.pool import Unread
from dicomweb.pixels.results import ResultCache
from dicomweb.pixels.service import Pixels
from dicomweb.pixels.tasks import task_of
from dicomweb.transcode.description import describe
from dicomweb.transcode.file import StoredFile, transcode_file
from dicomweb.wire.faults import UnreadableDataSet
from dicomweb.wire.instance import ParsedInstance, inflated_file, parse_instance


class InProcess:
    """Runs tasks at once; what a child would refuse is raised as it is."""

    def __init__(self) -> None:
        self.asked = 0

    async def run(self, task: str, header: dict[str, Any], body: Unread) -> tuple[dict[str, Any], bytes]:
        self.asked += 1
        return task_of(task)(header, await body.read())


def in_process() -> Pixels:
    return Pixels(InProcess(), ResultCache())


class InMemory:
    """The file in which the offsets of a layout count."""

    def __init__(self, file: bytes) -> None:
        self.file = file
        self.longest = 0

    async def read(self, ranges: Sequence[tuple[int, int]]) -> bytes:
        data = b"".join(self.file[start : start + length] for start, length in ranges)
        self.longest = max(self.longest, len(data))
        return data


def stored_file(file: bytes) -> StoredFile:
    parsed = parse_instance(file)
    inflated = bytes(inflated_file(file))

    async def description():
        return describe(parsed.dicom_json)

    return StoredFile(
        digest=file[-32:],
        transfer_syntax=parsed.transfer_syntax_uid,
        length=len(inflated),
        layout=parsed.pixels,
        reader=InMemory(inflated),
        describe=description,
    )


def transcoded(file: bytes, target: str) -> bytes:
    """The file in another transfer syntax."""

    async def run() -> bytes:
        made = await transcode_file(stored_file(file), target, in_process())
        body = b"".join([chunk async for chunk in made.chunks])
        assert made.length in (None, len(body))
        return body

    return asyncio.run(run())


@cache
def installed_files() -> dict[str, Path]:
    """The files with frames that the pydicom package brings along, by name."""
    folder = Path(str(get_testdata_file("CT_small.dcm"))).parent
    found = {}
    for path in sorted(folder.glob("*.dcm")):
        parsed = _parsed(path)
        if parsed is not None and parsed.pixels is not None and parsed.pixels.frames_known:
            found[path.name] = path
    return found


def _parsed(path: Path) -> ParsedInstance | None:
    try:
        return parse_instance(path.read_bytes())
    except UnreadableDataSet:
        return None
    except Exception:  # noqa: BLE001 - files that a Store refuses
        return None


def decoded_by_pydicom(dataset: pydicom.Dataset, *, raw: bool) -> Any:
    """All frames, (frames, rows, columns[, samples]); raises what pydicom does."""
    array, meta = pydicom.pixels.get_decoder(dataset.file_meta.TransferSyntaxUID).as_array(dataset, raw=raw)
    return (array if meta["number_of_frames"] > 1 else array[None]), meta["photometric_interpretation"]
