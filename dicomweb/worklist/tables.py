"""Tables of the worklist: Unified Procedure Steps, and the engine's attempts at them (PS3.4 Annex CC)."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Text, UniqueConstraint
from sqlmodel import Field

from server.kernel.rows import Row
from server.kernel.tables import BigKey, big_key


class Workitem(Row, table=True):
    """One Unified Procedure Step.

    The unique key says that one demand is one workitem: a rule, a model version and the hash of the input.
    `run` counts what a person asked for again and what came back to an earlier input; a rule alone never
    makes the same input run twice.
    """

    __tablename__ = "workitem"
    __table_args__ = (
        UniqueConstraint("study_instance_uid", "rule", "model_name", "model_version", "input_hash", "run"),
        Index(None, "state", "scheduled_us"),
        Index(None, "study_instance_uid", "rule"),
        {"sqlite_autoincrement": True},
    )

    pk: int | None = Field(default=None, sa_column=big_key())
    workitem_uid: str = Field(unique=True)
    state: str  # dicomweb.worklist.state.State
    priority: str  # dicomweb.worklist.state.Priority
    transaction_uid: str | None = None  # the performer's lock; never leaves the server
    study_instance_uid: str
    patient_id: str | None = Field(default=None, index=True)  # FHIR Patient id; None: unassigned or conflict
    rule: str
    model_name: str
    model_version: str
    input_hash: str  # SHA-256 over the sorted SOP Instance UIDs, hexadecimal
    run: int = 1
    input: str = Field(sa_type=Text)  # JSON, see workitem.encode_series
    output: str = Field(default="[]", sa_type=Text)  # JSON, see workitem.encode_series
    attempt: int = 0  # number of the engine's latest attempt; 0: the engine has not tried
    scheduled_us: int = Field(sa_type=BigInteger)
    changed_us: int = Field(sa_type=BigInteger)  # Scheduled Procedure Step Modification DateTime
    not_before_us: int | None = Field(default=None, sa_type=BigInteger)  # retry back-off
    started_us: int | None = Field(default=None, sa_type=BigInteger)
    ended_us: int | None = Field(default=None, sa_type=BigInteger)
    progress: int = 0  # per cent
    progress_text: str | None = None
    cancel_requested_us: int | None = Field(default=None, sa_type=BigInteger)
    reason_scheme: str | None = None  # the discontinuation reason, requested or final
    reason_code: str | None = None
    reason_meaning: str | None = None
    reason_text: str | None = Field(default=None, sa_type=Text)
    predecessor_uid: str | None = None
    successor_uid: str | None = None
    traceparent: str | None = None  # W3C: the trace of what asked for it; None: none was made
    requested_by: str | None = None  # the Principal that created it from outside; None: a rule did
    attributes: str | None = Field(default=None, sa_type=Text)  # DICOM JSON as sent; None: nothing was sent


class WorkitemKey(Row, table=True):
    """A value by which a workitem from outside is found; those of the engine's own follow from its row.

    `item` tells values of one item of a sequence from those of another, and the component groups of a PN.
    """

    __tablename__ = "workitem_key"
    __table_args__ = (
        Index(None, "workitem_pk"),
        Index(None, "path", "value", postgresql_ops={"value": "text_pattern_ops"}),
        {"sqlite_autoincrement": True},
    )

    pk: int | None = Field(default=None, sa_column=big_key())
    workitem_pk: int = Field(sa_column=Column(BigKey, ForeignKey("workitem.pk"), nullable=False))
    path: str  # of keywords: "ScheduledStationNameCodeSequence.CodeValue"
    item: int = 0
    value: str  # in a form that can be compared, see dicomweb/worklist/keys.py


class WorkitemAttempt(Row, table=True):
    """One try of the engine at a workitem. Outside performers leave none: they hold no lease."""

    __tablename__ = "workitem_attempt"
    __table_args__ = (UniqueConstraint("workitem_pk", "number"), {"sqlite_autoincrement": True})

    pk: int | None = Field(default=None, sa_column=big_key())
    workitem_pk: int = Field(sa_column=Column(BigKey, ForeignKey("workitem.pk"), nullable=False))
    number: int
    worker: str
    started_us: int = Field(sa_type=BigInteger)
    lease_until_us: int = Field(sa_type=BigInteger)
    ended_us: int | None = Field(default=None, sa_type=BigInteger, index=True)
    outcome: str  # dicomweb.worklist.workitem.Outcome
    reason: str | None = Field(default=None, sa_type=Text)
    model_version: str | None = None  # that tried; the workitem may change hands. None: a release before this
    fault: str | None = None  # the code of the fault that ended it


class WorkitemSubscription(Row, table=True):
    """What one AE of a principal asked to be told (PS3.4 CC.2.3; `dicomweb/worklist/events`)."""

    __tablename__ = "workitem_subscription"
    __table_args__ = (UniqueConstraint("principal", "ae_title", "target"), {"sqlite_autoincrement": True})

    pk: int | None = Field(default=None, sa_column=big_key())
    principal: str
    ae_title: str
    target: str = Field(index=True)  # a workitem's UID, or the well-known UID of a worklist subscription
    is_subscribed: bool = True  # false: an exception from a worklist subscription
    deletion_lock: bool = False
    filter: str = Field(default="[]", sa_type=Text)  # JSON; of a filtered worklist subscription
    until_pk: int | None = Field(default=None, sa_type=BigInteger)  # null: also for workitems to come
    created_us: int = Field(sa_type=BigInteger)
