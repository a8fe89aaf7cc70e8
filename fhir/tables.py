"""Tables of the FHIR door: resources, their superseded versions, search indexes, patient compartments.

Index rows are written with the resource and carry everything a search needs, so that a search never opens a
body. `param` is the pinned number of (resource type, parameter) from `definitions/search_parameters.json`;
`n` numbers the rows of one resource and parameter. Primary keys begin with `rid`: replacing a resource's
rows, `:missing` and `_sort` go by it; one secondary index per way of asking ends with it.

Text columns of an index hold at most `fhir.search.bounds.MAX_INDEXED_CHARACTERS`: PostgreSQL refuses index
entries above 2.7 kB.
"""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field

from server.kernel.rows import Row
from server.kernel.tables import BigKey, big_key

# Bytewise order on both databases, so that "starts with" is a range of the index.
Bytewise = Text().with_variant(Text(collation="C"), "postgresql")
CLUSTERED = {"sqlite_with_rowid": False}  # the primary key is the table; nothing is stored twice


def rid_column() -> Column[int]:
    """A fresh `rid`, first in the primary key of an index table."""
    return Column(BigKey, primary_key=True, autoincrement=False)


class FhirResource(Row, table=True):
    """The current version of a resource, or the tombstone of a deleted one.

    `body` is the exact JSON text with `id` and `meta` spliced in (`fhir/interactions/body.py`),
    zstd-compressed when that pays; a deleted resource has an empty one.
    """

    __tablename__ = "fhir_resource"
    __table_args__ = (
        UniqueConstraint("type", "id"),
        Index(None, "type", "rid"),
        Index(None, "type", "last_updated_us", "rid"),
        Index(None, "last_updated_us", "rid"),
        Index(None, "index_version"),
        {"sqlite_autoincrement": True},
    )

    rid: int | None = Field(default=None, sa_column=big_key())
    type: str
    id: str
    version_id: int
    last_updated_us: int = Field(sa_type=BigInteger)
    deleted: bool = False
    body: bytes = Field(sa_type=LargeBinary)
    # The `fhir.search.index.INDEX_VERSION` of its index rows; 0: before there was one.
    index_version: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))


class FhirResourceVersion(Row, table=True):
    """A superseded version, moved here by the write that superseded it; append-only.

    `patient_id` is the patient in whose compartment that version was: "" for none, NULL for several, whom
    no confined token reaches together any more, or where an earlier release did not tell. A resource may have
    been another patient's before.
    """

    __tablename__ = "fhir_resource_history"
    __table_args__ = (Index(None, "last_updated_us", "rid"),)

    rid: int = Field(sa_column=rid_column())
    version_id: int = Field(primary_key=True)
    last_updated_us: int = Field(sa_type=BigInteger)
    patient_id: str | None = None
    deleted: bool = False
    body: bytes = Field(sa_type=LargeBinary)


class FhirCompartment(Row, table=True):
    """A resource is part of a patient's record (FHIR R4 compartmentdefinition-patient.html).

    With several rows it is within reach of who reaches all of these patients. Beside ids there is
    `fhir.search.compartment.SOMEBODY`: a patient that no token is confined to.
    """

    __tablename__ = "fhir_compartment"
    __table_args__ = (Index(None, "patient_id", "rid"), CLUSTERED)

    rid: int = Field(sa_column=rid_column())
    patient_id: str = Field(primary_key=True)


class FhirMention(Row, table=True):
    """A version tells of a patient: one of several, of too many for `FhirCompartment`, or out of any record.

    What patients deny is asked for by it (`fhir/search/denied.py`); it opens nothing to any token.
    """

    __tablename__ = "fhir_mention"
    __table_args__ = (CLUSTERED,)

    rid: int = Field(sa_column=rid_column())
    version_id: int = Field(primary_key=True)
    patient_id: str = Field(primary_key=True)


class SearchToken(Row, table=True):
    """Values of token parameters (FHIR R4 search.html#token); system "" is none, "*" is any."""

    __tablename__ = "fhir_search_token"
    __table_args__ = (Index(None, "param", "code", "system", "rid"), CLUSTERED)

    rid: int = Field(sa_column=rid_column())
    param: int = Field(primary_key=True)
    n: int = Field(primary_key=True)
    system: str
    code: str


class SearchString(Row, table=True):
    """Values of string parameters (FHIR R4 search.html#string)."""

    __tablename__ = "fhir_search_string"
    __table_args__ = (Index(None, "param", "head", "rid"), CLUSTERED)

    rid: int = Field(sa_column=rid_column())
    param: int = Field(primary_key=True)
    n: int = Field(primary_key=True)
    head: str = Field(sa_type=Bytewise)  # the beginning of the folded text
    folded: str | None = Field(default=None, sa_type=Text)  # the whole folded text; None: `head` is
    exact: str = Field(sa_type=Text)


class SearchDate(Row, table=True):
    """Values of date parameters as ranges, `low_us` inclusive, `high_us` exclusive (search.html#date)."""

    __tablename__ = "fhir_search_date"
    __table_args__ = (
        Index(None, "param", "low_us", "high_us", "rid"),
        Index(None, "param", "high_us", "rid"),
        CLUSTERED,
    )

    rid: int = Field(sa_column=rid_column())
    param: int = Field(primary_key=True)
    n: int = Field(primary_key=True)
    low_us: int = Field(sa_type=BigInteger)
    high_us: int = Field(sa_type=BigInteger)


class SearchQuantity(Row, table=True):
    """Values of number and quantity parameters as ranges, both bounds inclusive (search.html#quantity)."""

    __tablename__ = "fhir_search_quantity"
    __table_args__ = (
        Index(None, "param", "low", "high", "rid"),
        Index(None, "param", "high", "rid"),
        CLUSTERED,
    )

    rid: int = Field(sa_column=rid_column())
    param: int = Field(primary_key=True)
    n: int = Field(primary_key=True)
    low: float = Field(sa_type=Double)
    high: float = Field(sa_type=Double)
    system: str = ""
    code: str = ""
    unit: str = ""


class SearchReference(Row, table=True):
    """Values of reference parameters (search.html#reference): ours by type and id, others by URL."""

    __tablename__ = "fhir_search_reference"
    __table_args__ = (
        Index(None, "param", "target_id", "target_type", "rid"),
        Index(None, "param", "url", "rid"),
        Index(None, "param", "identifier_value", "rid"),
        CLUSTERED,
    )

    rid: int = Field(sa_column=rid_column())
    param: int = Field(primary_key=True)
    n: int = Field(primary_key=True)
    target_type: str | None = None
    target_id: str | None = None
    url: str | None = None
    version: str | None = None  # of a canonical
    identifier_system: str | None = None
    identifier_value: str | None = None


class SearchText(Row, table=True):
    """The words of a resource, folded and joined by spaces (search.html#content); those of its narrative too.

    PostgreSQL has GIN indexes over both columns, SQLite the table `fhir_search_words` (FTS5), which triggers
    keep in step.
    """

    __tablename__ = "fhir_search_text"

    rid: int = Field(sa_column=rid_column())
    narrative: str = Field(sa_type=Text)
    content: str = Field(sa_type=Text)


class SearchUri(Row, table=True):
    """Values of uri parameters (search.html#uri)."""

    __tablename__ = "fhir_search_uri"
    __table_args__ = (Index(None, "param", "uri", "rid"), CLUSTERED)

    rid: int = Field(sa_column=rid_column())
    param: int = Field(primary_key=True)
    n: int = Field(primary_key=True)
    uri: str = Field(sa_type=Bytewise)


class SubscriptionState(Row, table=True):
    """What stands beside a Subscription: for whom it acts, and how its deliveries go (R4 subscription.html).

    Written with each version of the resource that a request makes, and in force only while `version_id` is
    that of the resource. The resource holds no secret: values of `channel.header` are here only, sealed.
    """

    __tablename__ = "fhir_subscription"
    __table_args__ = (Index(None, "status", "resource_type"),)

    rid: int = Field(sa_column=rid_column())
    id: str
    version_id: int
    status: str  # active, off or error, as Subscription.status
    resource_type: str  # that the criteria search
    criteria: str = Field(sa_type=Text)  # the search behind the type and "?"
    endpoint: str = Field(sa_type=Text)
    payload: str | None = None  # MIME type; None: notifications are empty
    headers: bytes = Field(default=b"", sa_type=LargeBinary)  # sealed JSON; empty: none
    authority: str = Field(sa_type=Text)  # JSON: the principal, and the origin of its Access
    since_us: int = Field(sa_type=BigInteger)
    end_us: int | None = Field(default=None, sa_type=BigInteger)
    failures: int = 0  # in a row, of the notification that is next
    next_us: int | None = Field(default=None, sa_type=BigInteger)  # when it is tried again; None: at once
    error: str | None = Field(default=None, sa_type=Text)  # of the last failure
    error_us: int | None = Field(default=None, sa_type=BigInteger)
    delivered: int = Field(default=0, sa_type=BigInteger)
    delivered_us: int | None = Field(default=None, sa_type=BigInteger)


class Notification(Row, table=True):
    """A change that a subscriber is to be told of; they are told in the order of `number`."""

    __tablename__ = "fhir_notification"
    __table_args__ = (Index(None, "subscription_rid", "number"), {"sqlite_autoincrement": True})

    number: int | None = Field(default=None, sa_column=big_key())
    subscription_rid: int = Field(sa_type=BigInteger)
    resource_rid: int = Field(sa_type=BigInteger)
    occurred_us: int = Field(sa_type=BigInteger)


class BinaryUpload(Row, table=True):
    """A content that is being received, or was: its number is that of its chunks.

    The row goes with the transaction that gives the content to a version; one that stays is of an upload that
    never ended, and is swept with its chunks.
    """

    __tablename__ = "fhir_binary_upload"
    __table_args__ = ({"sqlite_autoincrement": True},)

    number: int | None = Field(default=None, sa_column=big_key())
    begun_us: int = Field(sa_type=BigInteger, index=True)


class BinaryContent(Row, table=True):
    """Which content a version of a Binary has; `has_data`: whether the resource has `data` at all."""

    __tablename__ = "fhir_binary_content"
    __table_args__ = (CLUSTERED,)

    rid: int = Field(sa_column=rid_column())
    version_id: int = Field(primary_key=True)
    content: int = Field(sa_type=BigInteger)  # number of its chunks
    length: int = Field(sa_type=BigInteger)
    has_data: bool


class BinaryChunk(Row, table=True):
    """A piece of a content: `fhir.binaries.content.CHUNK_BYTES` long, but the last (R4 binary.html)."""

    __tablename__ = "fhir_binary_chunk"

    content: int = Field(sa_column=rid_column())
    number: int = Field(primary_key=True)
    body: bytes = Field(sa_type=LargeBinary)
