"""Tables of the AI engine: registered models, and the rules that route studies to them (DESIGN §2, §9)."""

from sqlalchemy import BigInteger, Text, UniqueConstraint
from sqlmodel import Field

from server.kernel.rows import Row
from server.kernel.tables import big_key


class ModelVersion(Row, table=True):
    """One version of one model: a bundle folder as it was when it was registered."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("name", "version"),)

    pk: int | None = Field(default=None, sa_column=big_key())
    name: str
    version: str
    digest: str  # SHA-256 over the bundle's files, hexadecimal; the worker refuses files that differ
    path: str  # of the bundle folder
    manifest: str = Field(sa_type=Text)  # JSON of ai_engine.manifest.Manifest
    stage: str  # "live": rules route to it; "retired": only workitems that name it run it
    registered_us: int = Field(sa_type=BigInteger)


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
