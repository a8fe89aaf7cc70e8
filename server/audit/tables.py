"""Tables of the audit trail's seals (DESIGN §8)."""

from sqlalchemy import BigInteger, Column, LargeBinary, Text
from sqlmodel import Field

from server.kernel.rows import Row


class AuditSeal(Row, table=True):
    """A batch of audit entries and a MAC over their digests and the seal before (`server/audit/seal.py`)."""

    __tablename__ = "audit_seal"

    number: int = Field(
        sa_column=Column(BigInteger, primary_key=True, autoincrement=False)
    )  # from 1, no gaps
    to_us: int = Field(
        sa_type=BigInteger, index=True
    )  # the last entry's key; the first follows the seal before
    to_sequence: int = Field(sa_type=BigInteger)
    sealed_us: int = Field(sa_type=BigInteger)
    entries: bytes = Field(sa_type=LargeBinary)  # key and digest of each
    previous: bytes = Field(sa_type=LargeBinary)  # the MAC of the seal before; empty: there was none
    key_id: bytes = Field(sa_type=LargeBinary)
    mac: bytes = Field(sa_type=LargeBinary)


class AuditChain(Row, table=True):
    """Where the chain of seals begins and ends, in one row: so that neither end can be cut unseen."""

    __tablename__ = "audit_chain"

    id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))  # 1
    first: int = Field(sa_type=BigInteger)  # the number of the first seal that is kept
    last: int = Field(sa_type=BigInteger)  # of the last; before `first`: none is kept
    to_us: int = Field(sa_type=BigInteger)  # the key of the last entry that was sealed
    to_sequence: int = Field(sa_type=BigInteger)
    kept_us: int = Field(sa_type=BigInteger)  # retention took what was recorded before
    head: bytes = Field(sa_type=LargeBinary)  # the MAC of the last seal
    key_id: bytes = Field(sa_type=LargeBinary)
    mac: bytes = Field(sa_type=LargeBinary)


class AuditCheck(Row, table=True):
    """How far the chain was looked at without being asked, and what was found (`server/audit/check.py`)."""

    __tablename__ = "audit_check"

    part: str = Field(primary_key=True)
    position: int = Field(sa_type=BigInteger)  # the last seal looked at; of a whole pass 0: it begins anew
    head: bytes = Field(sa_type=LargeBinary)  # its MAC, of the newest part: it must stay in the chain
    checked_us: int = Field(sa_type=BigInteger)  # when it was last looked at to its end; 0: never
    found: int = Field(sa_type=BigInteger)  # how much is wrong
    finding: str | None = Field(sa_type=Text)  # the first of it, a line each; None: it is as it was sealed
    pass_found: int = Field(sa_type=BigInteger)  # by the whole pass under way
    pass_finding: str | None = Field(sa_type=Text)
    key_id: bytes = Field(sa_type=LargeBinary)
    mac: bytes = Field(sa_type=LargeBinary)  # over all of it: nobody else says that all is well


class AuditForward(Row, table=True):
    """How far the trail was forwarded, in one row (`server/audit/forward/run.py`)."""

    __tablename__ = "audit_forward"

    id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))  # 1
    to_us: int = Field(sa_type=BigInteger)  # the key of the last entry that was delivered
    to_sequence: int = Field(sa_type=BigInteger)
    sent_us: int = Field(sa_type=BigInteger)
