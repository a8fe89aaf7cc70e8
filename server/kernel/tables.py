"""Tables of the floor: outbox, audit, patient identity."""

from sqlalchemy import BigInteger, Column, Index, Integer, Text, UniqueConstraint, text
from sqlmodel import Field

from server.kernel.rows import Row

# SQLite gives rowid semantics (and autoincrement) to INTEGER PRIMARY KEY only.
BigKey = BigInteger().with_variant(Integer(), "sqlite")


def big_key() -> Column[int]:
    """A fresh 64-bit autoincrement primary key column."""
    return Column(BigKey, primary_key=True, autoincrement=True)


CLUSTERED = {"sqlite_with_rowid": False}  # the primary key is the table


class OutboxEvent(Row, table=True):
    """One thing that happened, written in the transaction in which it happened."""

    __tablename__ = "outbox_event"
    # Readers ask for their kinds after their cursor, several times a second, also when none ever come.
    __table_args__ = (Index(None, "kind", "xact", "sequence"), {"sqlite_autoincrement": True})

    sequence: int | None = Field(default=None, sa_column=big_key())
    kind: str
    subject: str  # the identifier of what changed: a Study Instance UID, "Patient/…", a workitem UID
    payload: str = Field(default="{}", sa_type=Text)  # JSON
    occurred_us: int = Field(sa_type=BigInteger)
    # The writing transaction, filled in by PostgreSQL (`pg_current_xact_id`); 0 on SQLite.
    xact: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=False, server_default="0"))


class OutboxCursor(Row, table=True):
    """How far one reader of the outbox has come."""

    __tablename__ = "outbox_cursor"

    reader: str = Field(primary_key=True)
    sequence: int = Field(sa_type=BigInteger)
    xact: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))


class SchemaFloor(Row, table=True):
    """The oldest revision that a program may be made for and still work on this database; one row at most.

    A revision that takes something away raises it (`server/migrations`); without a row nothing was taken.
    """

    __tablename__ = "schema_floor"

    revision: str = Field(primary_key=True)


class AuditRow(Row, table=True):
    """One audited act; append-only (IHE ATNA, rendered as BALP AuditEvents on read).

    On PostgreSQL partitioned by months of `recorded_us` (`server/kernel/audit_months.py`).
    """

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
    client: str | None = None  # "client:…", through which the principal asked
    token: str | None = None  # the beginning of the hash of the access token
    purpose: str | None = None  # PurposeOfUse, a code of v3 ActReason
    address: str | None = None  # the IP address that the request came from


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


class Installation(Row, table=True):
    """Who this database is, in its one row; the object store names the same installation.

    So no database can be started on another one's objects, which all look orphaned to it.
    """

    __tablename__ = "installation"

    id: int = Field(default=1, primary_key=True)  # always 1
    name: str  # random, made once
    objects_prefix: str = ""  # of the names of objects written now; another one: all are to be packed anew


class ObjectRemoval(Row, table=True):
    """An object that is to go from the store; what still lies in it by then is packed away first."""

    __tablename__ = "object_removal"

    object_name: str = Field(primary_key=True)
    due_us: int = Field(sa_type=BigInteger, index=True)
    noted_us: int = Field(sa_type=BigInteger)
    reason: str  # server.kernel.object_removal.Reason
    problem: str | None = None  # why it could not be removed when it was due; null: it was not tried


class MaintenanceHold(Row, table=True):
    """While one is in force no object is removed: a backup under way renews its own."""

    __tablename__ = "maintenance_hold"

    name: str = Field(primary_key=True)
    until_us: int = Field(sa_type=BigInteger)


class ObjectWalk(Row, table=True):
    """How far a walk over all objects has come: "scrub" by instance id, "sweep" as a whole."""

    __tablename__ = "object_walk"

    name: str = Field(primary_key=True)
    after_id: int = Field(default=0, sa_type=BigInteger)
    next_us: int = Field(sa_type=BigInteger)  # when the next step is due, whichever process takes it
    begun_us: int = Field(sa_type=BigInteger)
    finished_us: int | None = Field(default=None, sa_type=BigInteger)  # the last whole walk; null: none yet
    refused: str | None = None  # why the last walk did nothing; null: it did


class DamagedObject(Row, table=True):
    """An instance whose stored bytes were found damaged or missing; gone once they are found whole."""

    __tablename__ = "damaged_object"

    instance_id: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    sop_instance_uid: str
    object_name: str
    problem: str
    found_us: int = Field(sa_type=BigInteger)
    checked_us: int = Field(sa_type=BigInteger)


IS_WAITING = text("state = 'waiting'")


class JobRow(Row, table=True):
    """A background job on SQLite; on PostgreSQL the tables of Procrastinate carry them (decision 0013)."""

    __tablename__ = "job"
    __table_args__ = (
        Index(
            "uq_job_dedupe_key",
            "dedupe_key",
            unique=True,
            sqlite_where=IS_WAITING,
            postgresql_where=IS_WAITING,
        ),
        Index(None, "state", "queue", "due_us"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, sa_column=big_key())
    task: str
    args: str = Field(sa_type=Text)  # JSON
    queue: str
    priority: int
    due_us: int = Field(sa_type=BigInteger)
    dedupe_key: str | None = None
    exclusive: str | None = None
    state: str  # server.kernel.jobs.JobState
    tries: int = 0
    failures: int = 0
    problem: str | None = Field(default=None, sa_type=Text)  # of the last try
    changed_us: int = Field(sa_type=BigInteger)
    runner: str | None = None  # who has it in hand
    alive_until_us: int | None = Field(default=None, sa_type=BigInteger)  # then its runner counts as dead


class PeriodicJob(Row, table=True):
    """When a task that recurs is to be deferred next, by whichever process comes first."""

    __tablename__ = "periodic_job"

    task: str = Field(primary_key=True)
    next_us: int = Field(sa_type=BigInteger)


class BackupRepository(Row, table=True):
    """The newest backup in one repository of backups."""

    __tablename__ = "backup_repository"

    repository_id: str = Field(primary_key=True)
    backup_id: str
    snapshot_us: int = Field(sa_type=BigInteger)  # the instant it shows
    finished_us: int = Field(sa_type=BigInteger)
    damaged: int = 0  # instances whose bytes it does not have whole


class ConsentVerdict(Row, table=True):
    """What came of a version of a Consent: enforced, or why not (FHIR R4 consent.html)."""

    __tablename__ = "consent_verdict"
    __table_args__ = (Index(None, "state", "rid"), CLUSTERED)

    rid: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    id: str
    version_id: int
    state: str  # server.kernel.consents.keep.State
    reasons: str = Field(sa_type=Text)  # JSON: [[element, why it is not enforced], …]; empty: it is


class ConsentDenial(Row, table=True):
    """One thing that a Consent denies (`server/kernel/consents/`); "*" is anybody, or every type.

    Rows with one `rid` and `node` are one rule, from which the exceptions of that rule take something out. A
    Consent has its rows under each Patient that is one person with its own (`patient_merge`).
    """

    __tablename__ = "consent_denial"
    __table_args__ = (Index(None, "rid"), Index(None, "holder"), CLUSTERED)

    patient_id: str = Field(primary_key=True)
    actor: str = Field(primary_key=True)  # "Practitioner/…", "Organization/…": others' are not looked at
    rid: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))  # of the Consent
    number: int = Field(primary_key=True)
    holder: str  # the Patient that the Consent names
    node: int
    action: str
    resource_type: str
    system: str  # of a security label; "": whatever the labels
    code: str
    rank: int  # of a label of confidentiality: this and what is more restricted; NO_RANK: none is asked for
    starts_us: int = Field(sa_type=BigInteger)  # inclusive
    ends_us: int = Field(sa_type=BigInteger)  # exclusive


class ConsentException(Row, table=True):
    """What the exceptions of a rule of `ConsentDenial` take out of it; columns as there.

    A rank is the most restricted that is taken out.
    """

    __tablename__ = "consent_exception"
    __table_args__ = (CLUSTERED,)

    rid: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    node: int = Field(primary_key=True)
    actor: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    resource_type: str
    system: str
    code: str
    rank: int
    starts_us: int = Field(sa_type=BigInteger)
    ends_us: int = Field(sa_type=BigInteger)


class StudyLabel(Row, table=True):
    """A security label of a study: of the ImagingStudy that this server keeps of it (`meta.security`)."""

    __tablename__ = "study_label"
    __table_args__ = (CLUSTERED,)

    study_instance_uid: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    system: str
    code: str
