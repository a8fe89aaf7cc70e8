"""Tables of the floor: outbox, audit, patient identity."""

from sqlalchemy import BigInteger, Column, Index, Integer, Text, UniqueConstraint
from sqlmodel import Field

from server.kernel.rows import Row

# SQLite gives rowid semantics (and autoincrement) to INTEGER PRIMARY KEY only.
BigKey = BigInteger().with_variant(Integer(), "sqlite")


def big_key() -> Column[int]:
    """A fresh 64-bit autoincrement primary key column."""
    return Column(BigKey, primary_key=True, autoincrement=True)


class OutboxEvent(Row, table=True):
    """One thing that happened, written in the transaction in which it happened."""

    __tablename__ = "outbox_event"
    # Readers ask for their kinds after their cursor, several times a second, also when none ever come.
    __table_args__ = (Index(None, "kind", "sequence"), {"sqlite_autoincrement": True})

    sequence: int | None = Field(default=None, sa_column=big_key())
    kind: str
    subject: str  # the identifier of what changed: a Study Instance UID, "Patient/…", a workitem UID
    payload: str = Field(default="{}", sa_type=Text)  # JSON
    occurred_us: int = Field(sa_type=BigInteger)


class OutboxCursor(Row, table=True):
    """How far one reader of the outbox has come."""

    __tablename__ = "outbox_cursor"

    reader: str = Field(primary_key=True)
    sequence: int = Field(sa_type=BigInteger)


class AuditRow(Row, table=True):
    """One audited act; append-only (IHE ATNA, rendered as BALP AuditEvents on read)."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index(None, "patient_id", "recorded_us"), {"sqlite_autoincrement": True})

    sequence: int | None = Field(default=None, sa_column=big_key())
    recorded_us: int = Field(sa_type=BigInteger, index=True)
    principal: str
    action: str  # C R U D E, the AuditEvent.action code
    outcome: str  # 0 4 8 12, the AuditEvent.outcome code
    interaction: str  # "stow", "qido", "wado", "read", "search-type", "create", "token", …
    resource_type: str
    resource_id: str | None = None
    patient_id: str | None = None
    request_id: str | None = None
    occurrences: int = 1


class PatientIdentity(Row, table=True):
    """A patient identifier and the FHIR Patient that carries it (DESIGN §5, Identity).

    A merge leaves `patient_id` as it is: it is followed from there by `PatientMerge`.
    """

    __tablename__ = "patient_identity"
    __table_args__ = (UniqueConstraint("system", "value"),)

    id: int | None = Field(default=None, sa_column=big_key())
    system: str  # Identifier.system
    value: str
    patient_id: str = Field(index=True)
    birth_date: str | None = None  # FHIR date; None: not known
    sex: str | None = None  # FHIR administrative gender; None: not known
    name_folded: str | None = None  # case- and accent-folded family and given name; None: not known


class PatientMerge(Row, table=True):
    """A Patient that is merged into another now; unmerging takes the row away, audit keeps the history."""

    __tablename__ = "patient_merge"

    source: str = Field(primary_key=True)  # Patient id; into one other at most
    target: str = Field(index=True)
    source_active: bool | None = None  # Patient.active of the source before; None: it said nothing
    merged_us: int = Field(sa_type=BigInteger)
