"""Tables of the AI engine: registered models, and the rules that route studies to them (DESIGN §2, §9)."""

from typing import Any

from sqlalchemy import BigInteger, Index, LargeBinary, String, Text, TypeDecorator, UniqueConstraint, text
from sqlmodel import Field

from server.kernel.rows import Row
from server.kernel.tables import big_key

STORED = {"production": "live"}  # stages by another name in the rows: servers of the last release look for it
_TOLD = {stored: stage for stage, stored in STORED.items()}


class StageText(TypeDecorator[str]):
    """The value of a stage, as rows keep it."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002  SQLAlchemy names it
        """The stored word of a stage."""
        return None if value is None else STORED.get(value, value)

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:  # noqa: ARG002  SQLAlchemy names it
        """The stage of a stored word."""
        return None if value is None else _TOLD.get(value, value)


def _one_a_model(stage: str) -> Index:
    """At most one version of a model is at this stage."""
    where = text(f"stage = '{STORED.get(stage, stage)}'")
    name = f"uq_model_version_{stage}"
    return Index(name, "name", unique=True, sqlite_where=where, postgresql_where=where)


class Model(Row, table=True):
    """What is decided about a model over its versions; `revision` tells whether somebody was faster."""

    __tablename__ = "model"

    name: str = Field(primary_key=True)
    revision: int = 0  # grows with each change of anything here, or of a version's stage
    canary_share: int = 0  # of the studies, in hundredths of a percent
    previous_version: str | None = None  # that was production before; None: there is none to go back to
    gate: str | None = Field(default=None, sa_type=Text)  # JSON of ai_engine.gate.Criterion; None: manifests'
    limits: str | None = Field(default=None, sa_type=Text)  # JSON of Limits; None: the defaults
    governed_us: int | None = Field(default=None, sa_type=BigInteger)  # since an operator first decided


class ModelVersion(Row, table=True):
    """One version of one model: a bundle folder as it was when it was registered."""

    __tablename__ = "model_version"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        _one_a_model("production"),
        _one_a_model("canary"),
    )

    pk: int | None = Field(default=None, sa_column=big_key())
    name: str
    version: str
    digest: str  # SHA-256 over the bundle's files, hexadecimal; the worker refuses files that differ
    path: str  # of the bundle folder that came with the package; "": its files are kept here
    files: str = Field(default="[]", sa_type=Text)  # JSON of ai_engine.bundle.BundleFile
    manifest: str = Field(sa_type=Text)  # JSON of ai_engine.manifest.Manifest
    device_id: str | None = Field(default=None, index=True)  # its Device in the record
    stage: str = Field(sa_type=StageText)  # server.workflows.registry.stages.Stage
    registered_us: int = Field(sa_type=BigInteger)
    barred_us: int | None = Field(default=None, sa_type=BigInteger)  # known to be bad since; None: it is not


class ModelFileChunk(Row, table=True):
    """A piece of a file of a bundle, by the file's SHA-256: versions share the files that they have alike."""

    __tablename__ = "model_file_chunk"

    sha256: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    kept_us: int = Field(sa_type=BigInteger)  # when an `add` last found it needed
    body: bytes = Field(sa_type=LargeBinary)


class ModelChange(Row, table=True):
    """What was decided about a model, by whom and why; rows are only added."""

    __tablename__ = "model_change"
    __table_args__ = (Index(None, "model_name", "pk"),)

    pk: int | None = Field(default=None, sa_column=big_key())
    model_name: str
    version: str | None = None  # None: of the model as a whole
    at_us: int = Field(sa_type=BigInteger)
    by: str  # the principal's id
    act: str
    before: str | None = None  # stage, share or the like
    after: str | None = None
    reason: str | None = Field(default=None, sa_type=Text)


class HoldoutSet(Row, table=True):
    """Cases whose truth is known, by content; the files stay where they are."""

    __tablename__ = "holdout_set"

    name: str = Field(primary_key=True)
    digest: str  # SHA-256 over the folder's files, hexadecimal
    folder: str
    cases: int
    registered_us: int = Field(sa_type=BigInteger)
    registered_by: str


class ModelEvaluation(Row, table=True):
    """One version of a model on a holdout set."""

    __tablename__ = "model_evaluation"
    __table_args__ = (Index(None, "model_name", "version", "pk"),)

    pk: int | None = Field(default=None, sa_column=big_key())
    model_name: str
    version: str
    digest: str  # of the bundle
    holdout: str
    holdout_digest: str
    cases: int  # that were run
    whole: bool  # all of the set
    metrics: str = Field(sa_type=Text)  # JSON: name → Estimate
    tables: str = Field(sa_type=Text)  # JSON: what no single figure says, as the reliability table
    outcomes: str = Field(sa_type=Text)  # JSON: of each case, by its id in the set; nothing of a patient
    ended_us: int = Field(sa_type=BigInteger)
    by: str  # the principal's id


class ShadowResult(Row, table=True):
    """What a version at the stage "shadow" made of a workitem's input; it is shown to administrators only."""

    __tablename__ = "shadow_result"
    __table_args__ = (
        UniqueConstraint("workitem_uid", "model_name", "version"),
        Index(None, "model_name", "version", "pk"),
    )

    pk: int | None = Field(default=None, sa_column=big_key())
    workitem_uid: str  # of the clinical run
    study_instance_uid: str = Field(index=True)  # whose deletion takes the row along
    model_name: str
    version: str
    clinical_version: str
    clinical: str | None = Field(
        default=None, sa_type=Text
    )  # JSON: of the clinical findings; None: it is done
    tries: int = 0
    outcome: str  # "running", "completed", "failed", "called-off"
    fault: str | None = None  # code of ai_engine.runners.port, or the kind of another fault
    duration_ms: int | None = None
    findings: str | None = Field(default=None, sa_type=Text)  # JSON without pixels
    agreement: str | None = Field(default=None, sa_type=Text)  # JSON, with the clinical result
    at_us: int = Field(sa_type=BigInteger, index=True)


class ModelVerdict(Row, table=True):
    """What clinicians said of a result: one row a workitem, the gravest word."""

    __tablename__ = "model_verdict"
    __table_args__ = (Index(None, "model_name", "version", "at_us"),)

    workitem_uid: str = Field(primary_key=True)
    model_name: str
    version: str
    verdict: str  # "verified", "amended", "rejected"
    person: str  # who said so, by a hash: people are counted, not named
    at_us: int = Field(sa_type=BigInteger)  # of the first word: the result counts in that window


class RoutingRule(Row, table=True):
    """Which studies go to a model, and how urgently."""

    __tablename__ = "routing_rule"

    pk: int | None = Field(default=None, sa_column=big_key())
    name: str = Field(unique=True)
    model_name: str
    selection: str = Field(sa_type=Text)  # JSON of ai_engine.wants.Wants
    quiet_time_s: float  # without a new input instance before the study counts as settled for this rule
    enabled: bool = True
    priority: str = "MEDIUM"  # HIGH, MEDIUM or LOW, of the workitems it makes


class SettlingStudy(Row, table=True):
    """A rule will look at a study once it is settled; the row goes when it has."""

    __tablename__ = "settling_study"
    __table_args__ = (UniqueConstraint("study_instance_uid", "rule"),)

    pk: int | None = Field(default=None, sa_column=big_key())
    rule: str
    study_instance_uid: str
    due_us: int = Field(sa_type=BigInteger, index=True)  # the quiet time's end, if nothing more arrives
