"""Instances with what rendering needs of them: metadata, frame table, tables that lie in their files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dicomweb.attributes import DicomJson
from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.metadata import parse_metadata
from dicomweb.pixels.format import pixel_format
from dicomweb.render.describe import Source, bulk_uris
from dicomweb.render.media import Kind, NotRendered, kind_of
from dicomweb.retrieve.frames import bulk_range, layout_of, open_file
from dicomweb.retrieve.locate import InstanceDetail, Located, read_metadata
from dicomweb.retrieve.request import Archive
from dicomweb.retrieve.value_bytes import word_of
from dicomweb.wire.dicom_json import text_of
from dicomweb.wire.overlay import show
from dicomweb.wire.pixel_data import PixelLayout
from dicomweb.wire.rewrite import turned_around
from dicomweb.wire.walk import BULK_PREFIX
from server.kernel.database import Database

SUBJECTS_PAGE = 5  # instances whose metadata is in memory at once
MAX_TABLES_BYTES = 16 << 20  # of all tables of an instance
MAX_TABLE_BYTES = 512 << 10  # of a lookup table or colour profile; the largest table has 128 KiB
_COLUMNS = ("dicom_json", "pixel_layout", "bulk_values")


@dataclass
class Subject:
    """One located instance; what is read of it for one picture serves the next of the same request."""

    located: Located
    detail: InstanceDetail
    dicom_json: DicomJson
    source: Source | None = None  # None: not read yet

    @cached_property
    def layout(self) -> PixelLayout:
        """Where its frames lie.

        Raises:
            NotFound: it has none, or they cannot be told apart.
        """
        return layout_of(self.detail)

    @cached_property
    def frames(self) -> tuple[int, ...]:
        """The numbers of all its frames."""
        return tuple(range(1, self.layout.number_of_frames + 1))

    @cached_property
    def kind(self) -> Kind:
        """How it is rendered."""
        has_frames = self.detail.pixel_layout is not None
        return kind_of(self.dicom_json, self.located.transfer_syntax_uid, has_frames=has_frames)

    @property
    def is_segmentation(self) -> bool:
        """Whether it says what is where in other images."""
        return text_of(self.dicom_json, "Modality") == "SEG"

    def bulk_range(self, uri: str) -> tuple[int, int]:
        """(offset, length) in the file of the value that a BulkDataURI of the metadata names."""
        return bulk_range(self.detail, uri.rpartition(BULK_PREFIX)[2])


async def read_subjects(database: Database, located: Sequence[Located]) -> list[Subject]:
    """These instances, in their order.

    Raises:
        NotFound: some were deleted since they were located.
    """
    found = await read_metadata(database, [each.key for each in located], _COLUMNS)
    subjects = []
    for each in located:
        row = found[each.key]
        detail = InstanceDetail(row.pixel_layout, row.bulk_values)
        dicom_json = await parse_metadata(row.dicom_json)
        if each.overlay is not None:
            dicom_json = show(dicom_json, each.overlay)
        subjects.append(Subject(each, detail, dicom_json))
    return subjects


async def read_source(archive: Archive, subject: Subject, *, with_profile: bool = False) -> Source:
    """What describes the rendering, with the tables that the metadata leaves in the file.

    Raises:
        PixelsUnreadable: the pixels are described in a way that none can be.
        NotRendered: a table is larger than tables are.
    """
    if subject.source is None:
        has_pixels = subject.kind is not Kind.PRESENTATION
        fmt = pixel_format(subject.dicom_json if has_pixels else _NO_PIXELS)
        uris = bulk_uris(subject.dicom_json, with_profile=with_profile)
        values = await _read_values(archive, subject, uris) if uris else {}

        def bulk(uri: str) -> bytes:
            if uri not in values:
                raise NotRendered("A table of the instance is one of more than are read.")
            return values[uri]

        subject.source = Source(subject.dicom_json, fmt, bulk)
    return subject.source


async def _read_values(archive: Archive, subject: Subject, uris: Sequence[str]) -> dict[str, bytes]:
    reader = await open_file(archive.services.objects, archive.inflated, subject.located)
    is_big_endian = subject.located.transfer_syntax_uid == ts.ExplicitVRBigEndian
    values: dict[str, bytes] = {}
    ranges = [subject.bulk_range(uri) for uri in uris]
    lengths = [length for _, length in ranges]
    if max(lengths) > MAX_TABLE_BYTES or sum(lengths) > MAX_TABLES_BYTES:
        raise NotRendered("The lookup tables or the colour profile of the instance are larger than any are.")
    for uri, each in zip(uris, ranges, strict=True):
        data = await reader.read([each])
        path = uri.rpartition(BULK_PREFIX)[2]
        values[uri] = turned_around(data, word_of(subject.dicom_json, path)) if is_big_endian else data
    return values


_NO_PIXELS: DicomJson = {  # a presentation state has none; its tables are unsigned
    "00280010": {"vr": "US", "Value": [1]},
    "00280011": {"vr": "US", "Value": [1]},
    "00280100": {"vr": "US", "Value": [16]},
}
