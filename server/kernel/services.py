"""What every handler needs, built once by the roof and handed down."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from server.kernel.clock import Clock, now_us
from server.kernel.database import Database
from server.kernel.object_store import ObjectStore
from server.kernel.read_audit import ReadAudit


@dataclass(frozen=True, slots=True)
class Site:
    """The site's own naming: the issuer of identifiers that name none, and its zone."""

    patient_system: str = "urn:isthmus:site:patient-id"  # Identifier.system when no issuer is stated
    system_of_issuer: Mapping[str, str] = field(
        default_factory=dict
    )  # Issuer of Patient ID → Identifier.system
    timezone: str | None = None  # IANA name; None: DICOM times without offset become dates only
    create_patients: bool = True  # whether an unknown identifier creates a Patient


@dataclass(frozen=True, slots=True)
class Services:
    """The floor's services of one process."""

    database: Database
    objects: ObjectStore
    read_audit: ReadAudit
    public_base: str  # scheme://host[:port] of every URL in answers, without a final slash
    site: Site = Site()
    clock: Clock = now_us
