"""Values of the Store transaction, from received bytes to the result of each instance.

The AI publisher uses the same: `prepare_instance` on what it encoded, `ObjectStore.put`, then
`index_instances` (`dicomweb/store/index.py`) within its own transaction.
"""

from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from mmap import mmap

import orjson
from xxhash import xxh3_128_digest

from dicomweb.metadata import pack_metadata
from dicomweb.response_codes import StoreFailure
from dicomweb.wire.instance import ParsedInstance, parse_instance
from dicomweb.wire.overlay import has_our_changes
from dicomweb.wire.pixel_data import encode_layout
from server.kernel.object_store import StoredRange


class Origin(Enum):
    """Where an instance came from."""

    RECEIVED = "received"
    ENGINE = "engine"  # made by a model of this server; never an input that re-arms a rule


@dataclass(frozen=True, slots=True)
class PackedMetadata:
    """The columns of an `InstanceMetadata` row."""

    dicom_json: bytes
    pixel_layout: bytes | None
    bulk_values: str | None


@dataclass(frozen=True, slots=True)
class Digests:
    """What the bytes of an instance are known by."""

    file_sha256: bytes
    file_xxh3: bytes  # of 128 bits; a sixteenth of the cost: what every read proves
    data_set_sha256: bytes  # without the file meta: what makes a duplicate equal


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """An instance that was read and found whole, with its digests; its bytes are not stored yet."""

    parsed: ParsedInstance
    metadata: PackedMetadata
    length: int
    digests: Digests
    was_given_out: bool = False  # it says that a system like this one has corrected it


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """A received instance whose bytes are durable."""

    received: ReceivedInstance
    stored: StoredRange

    @property
    def parsed(self) -> ParsedInstance:
        """What the data set says."""
        return self.received.parsed


@dataclass(frozen=True, slots=True)
class FailedAttribute:
    """An attribute for which an instance was refused; `tag` as 8 hexadecimal digits, "" when none."""

    tag: str
    comment: str  # Error Comment (0000,0902): what is wrong, without the value


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an instance was not stored."""

    reason: StoreFailure
    failed_attributes: tuple[FailedAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class InstanceResult:
    """What became of one instance of a Store request; UIDs are "" where they could not be read."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    refusal: Refusal | None = None  # None: stored, now or before
    already_stored: bool = False  # the same data set was there; nothing was written
    replaced: bool = False  # another data set was there, and was set aside
    warnings: tuple[str, ...] = ()
    patient_id: str | None = None  # the FHIR Patient of its study; None: unassigned, conflict or refused


def prepare_instance(body: bytes | bytearray | memoryview | mmap) -> ReceivedInstance:
    """Read one DICOM file (PS3.10), digest it and pack its metadata.

    Raises:
        UnreadableDataSet, TransferSyntaxUnknown: it is no whole DICOM file that this server can read.
        IdentifierMissing, DataSetDoesNotMatch: an identifying attribute is not usable; the fault names each.
    """
    parsed = parse_instance(body)
    with memoryview(body) as view, view[parsed.data_set_offset :] as data_set:
        digests = Digests(sha256(view).digest(), xxh3_128_digest(view), sha256(data_set).digest())
        was_given_out = has_our_changes(parsed.dicom_json)
        return ReceivedInstance(parsed, _pack(parsed), len(view), digests, was_given_out)


def _pack(parsed: ParsedInstance) -> PackedMetadata:
    bulk = [(value.path, value.offset, value.length) for value in parsed.bulk]
    return PackedMetadata(
        pack_metadata(parsed.dicom_json),
        encode_layout(parsed.pixels) if parsed.pixels else None,
        orjson.dumps(bulk).decode() if bulk else None,
    )


def result_of(parsed: ParsedInstance, refusal: Refusal | None = None) -> InstanceResult:
    """The result of an instance that could be read."""
    return InstanceResult(
        parsed.sop_class_uid,
        parsed.sop_instance_uid,
        parsed.study_instance_uid,
        parsed.series_instance_uid,
        refusal,
        warnings=parsed.warnings,
    )
