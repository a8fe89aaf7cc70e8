"""The table of documents: which report each is a version of."""

from sqlalchemy import BigInteger, Index, LargeBinary, Text
from sqlmodel import Field

from server.kernel.rows import Row


class ReportDocument(Row, table=True):
    """One SR document that was looked at, the engine's own and verified ones too; it outlives its instance.

    `report_id` is that of the DiagnosticReport; null: it became none, and `problem` says why.
    """

    __tablename__ = "report_document"
    __table_args__ = (Index(None, "study_instance_uid"), Index(None, "report_id"))

    sop_instance_uid: str = Field(primary_key=True)
    study_instance_uid: str
    data_set_sha256: bytes = Field(
        sa_type=LargeBinary
    )  # of what was looked at; another one is looked at anew
    report_id: str | None = None
    problem: str | None = Field(default=None, sa_type=Text)
    predecessors: str = Field(default="", sa_type=Text)  # SOP Instance UIDs, separated by blanks
    looked_us: int = Field(sa_type=BigInteger)
