"""How every retrieval begins: who asks, what is within reach, its entity tag, the audit (PS3.18 10.4)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from dicomweb.answer import strong_tag, weak_tag
from dicomweb.pixels.service import Pixels
from dicomweb.reach import study_reach
from dicomweb.retrieve.byte_range import ByteRange, parse_range
from dicomweb.retrieve.inflated import InflatedFiles
from dicomweb.retrieve.locate import InstanceDetail, Located, Resource, locate, locate_with_detail
from dicomweb.transcode.description import Descriptions
from dicomweb.wire.media_types import MediaRange
from server.kernel.access import Access, Permission
from server.kernel.audit import Action, AuditEntry
from server.kernel.services import Services


@dataclass(frozen=True, slots=True)
class RetrieveRequest:
    """Who asks, and what of the header fields matters."""

    access: Access
    accept: Sequence[MediaRange]
    if_none_match: str | None = None
    range: str | None = None
    if_range: str | None = None
    accept_encoding: Sequence[str] = ()
    is_head: bool = False  # the body will not be sent, so nothing is read for it

    def asked_range(self, total: int, entity_tag: str) -> ByteRange | None:
        """The range of a content of `total` bytes to answer with; None: the whole.

        A Range of a HEAD means nothing (RFC 9110 §14.2), and neither does one whose If-Range is not this very
        entity tag: a weak tag or a date never is (§13.1.5).

        Raises:
            RangeNotSatisfiable: nothing of it lies within the content.
        """
        if self.is_head or (self.if_range is not None and not _is_very_tag(self.if_range, entity_tag)):
            return None
        return parse_range(self.range, total)


@dataclass(frozen=True, slots=True)
class Archive:
    """What reading parts of instances needs; one per process, for requests share what was made."""

    services: Services
    inflated: InflatedFiles
    pixels: Pixels = field(default_factory=Pixels)
    descriptions: Descriptions = field(default_factory=Descriptions)


def _is_very_tag(if_range: str, entity_tag: str) -> bool:
    """Strong comparison (RFC 9110 §8.8.3.2)."""
    return if_range.strip() == entity_tag and not entity_tag.startswith("W/")


async def find(services: Services, request: RetrieveRequest, resource: Resource) -> list[Located]:
    """Every instance of a resource within reach.

    Raises:
        NotFound: there is none.
    """
    reach = study_reach(services, request.access, Permission.READ)
    return await locate(services.database, resource, reach)


async def find_with_detail(
    services: Services, request: RetrieveRequest, resource: Resource
) -> tuple[Located, InstanceDetail]:
    """One instance within reach, and where its frames and bulk values lie.

    Raises:
        NotFound: it is not there.
    """
    reach = study_reach(services, request.access, Permission.READ)
    return await locate_with_detail(services.database, resource, reach)


async def audit_retrieval(services: Services, request: RetrieveRequest, located: Located) -> None:
    """Record the read; durable before the first byte leaves."""
    entry = AuditEntry(
        request.access.principal,
        Action.READ,
        "wado",
        "ImagingStudy",
        located.study_instance_uid,
        patient_id=located.patient_id,
    )
    await services.read_audit.record_retrieval(entry)


def entity_tag(kind: str, located: Sequence[Located], *, strong: bool = False) -> str:
    """The entity tag of a representation of these instances; `kind` says which.

    `strong`: its bytes are the same whenever it is made, which a multipart message with its boundary is not.
    """
    digest = sha256(kind.encode())
    for each in located:
        digest.update(each.version)
    return (strong_tag if strong else weak_tag)(digest.digest())
