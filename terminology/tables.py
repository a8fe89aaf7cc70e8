"""Tables of code systems that are too large for memory: SNOMED CT, LOINC and their like.

A *release* is one version of one code system. Its rows are written while it is `loading`, and nobody sees
them; then one update makes it `active`. Within a release a concept has a `number`, from 1 on: active ones
before others, short names before long ones. So a text search that reads matches in the order of numbers finds
the nearest first, and "active" is a range of numbers.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Text, text
from sqlmodel import Field

from server.kernel.rows import Row
from server.kernel.tables import big_key

Bytewise = Text().with_variant(Text(collation="C"), "postgresql")
CLUSTERED = {"sqlite_with_rowid": False}


_IS_MAPPED = text("map_target IS NOT NULL")


def _release() -> Column[int]:
    return Column(Integer, primary_key=True, autoincrement=False)


def _number() -> Column[int]:
    return Column(Integer, primary_key=True, autoincrement=False)


class TerminologyRelease(Row, table=True):
    """One version of a code system in these tables."""

    __tablename__ = "terminology_release"
    __table_args__ = (Index(None, "url", "state"), {"sqlite_autoincrement": True})

    id: int | None = Field(default=None, sa_column=big_key())
    url: str
    version: str = ""  # "": it has none
    state: str  # loading, active, removed
    kind: str  # the grammar of its filters: snomed, loinc, listed
    header: bytes = Field(sa_type=LargeBinary)  # the CodeSystem resource without its concepts, JSON
    concepts: int = 0
    active_concepts: int = 0  # they have the numbers 1 to this one
    loaded_at_us: int = Field(
        sa_type=BigInteger
    )  # loading: when something was last written; removed: since when


class TerminologyConcept(Row, table=True):
    """A concept; `body` has all that CodeSystem.concept says of it, `releases.bodies` reads it.

    What lies above it stands here, what lies below it in tables of its own: there is far more of that.
    `words` has a text index of its own, which is to be filled: `releases.text_index`, `releases.word_blocks`.
    """

    __tablename__ = "terminology_concept"
    __table_args__ = (CLUSTERED,)

    release_id: int = Field(sa_column=_release())
    number: int = Field(sa_column=_number())
    code: str = Field(sa_type=Bytewise)
    display: str | None = Field(default=None, sa_type=Text)
    active: bool
    body: bytes = Field(sa_type=LargeBinary)
    parents: str = Field(default="[]", sa_type=Text)  # numbers, JSON
    ancestors: str = Field(default="[]", sa_type=Text)  # the same; parents are among them, itself is not
    words: str = Field(default="", sa_type=Text)  # each word once, as `text.words_of` has them


class TerminologyCode(Row, table=True):
    """Which concept a code is; where case does not count, `code` is in lower case (`str.casefold`)."""

    __tablename__ = "terminology_code"
    __table_args__ = (CLUSTERED,)

    release_id: int = Field(sa_column=_release())
    code: str = Field(sa_column=Column(Bytewise, primary_key=True))
    number: int


class TerminologyChild(Row, table=True):
    """`child` lies right below `parent`; the roots are children of 0."""

    __tablename__ = "terminology_child"
    __table_args__ = (CLUSTERED,)

    release_id: int = Field(sa_column=_release())
    parent: int = Field(sa_column=_number())
    child: int = Field(sa_column=_number())


class TerminologyClosure(Row, table=True):
    """`descendant` lies below `ancestor`; nothing lies below itself.

    The way up is `TerminologyConcept.ancestors`, see `releases.numbers`.
    """

    __tablename__ = "terminology_closure"
    __table_args__ = (CLUSTERED,)

    release_id: int = Field(sa_column=_release())
    ancestor: int = Field(sa_column=_number())
    descendant: int = Field(sa_column=_number())


class TerminologyRelation(Row, table=True):
    """An attribute of a concept whose value is a concept (SNOMED CT relationships but is-a)."""

    __tablename__ = "terminology_relation"
    __table_args__ = (
        Index("ix_terminology_relation_to", "release_id", "attribute", "target", "source", "role_group"),
        CLUSTERED,
    )

    release_id: int = Field(sa_column=_release())
    source: int = Field(sa_column=_number())
    role_group: int = Field(sa_column=_number())
    attribute: int = Field(sa_column=_number())
    target: int = Field(sa_column=_number())


class TerminologyProperty(Row, table=True):
    """A property of a concept, as its filters compare it (`Property.text`, the first characters of it)."""

    __tablename__ = "terminology_property"
    __table_args__ = (CLUSTERED,)

    release_id: int = Field(sa_column=_release())
    property: str = Field(sa_column=Column(Bytewise, primary_key=True))
    value: str = Field(sa_column=Column(Bytewise, primary_key=True))
    concept: int = Field(sa_column=_number())


class TerminologyMember(Row, table=True):
    """A concept is an active member of a reference set (both are concepts of the release).

    The columns that a kind of reference set has beside that: `target` is the concept of targetComponentId,
    `map_target` is mapTarget, `fields` has all but the first by name, JSON ("{}": there are none).
    """

    __tablename__ = "terminology_member"
    __table_args__ = (
        Index("ix_terminology_member_of", "release_id", "concept", "refset"),
        Index("ix_terminology_member_target", "release_id", "target", "refset", "concept"),
        Index(
            "ix_terminology_member_map",
            *("release_id", "refset", "map_target", "concept"),
            sqlite_where=_IS_MAPPED,
            postgresql_where=_IS_MAPPED,
        ),
        CLUSTERED,
    )

    release_id: int = Field(sa_column=_release())
    refset: int = Field(sa_column=_number())
    concept: int = Field(sa_column=_number())
    n: int = Field(sa_column=_number())  # counts the rows of one concept
    target: int | None = None  # None: the reference set has no such column, or the concept is not here
    module: int | None = None
    effective_time: int = 0  # YYYYMMDD; 0: it has none
    fields: str = Field(default="{}", sa_type=Text)
    map_target: str | None = Field(default=None, sa_type=Bytewise)  # None: it is no map


class TerminologyConceptState(Row, table=True):
    """What SNOMED CT's concept file says of a concept beside `active` (RF2 §4.2.1)."""

    __tablename__ = "terminology_concept_state"
    __table_args__ = (CLUSTERED,)

    release_id: int = Field(sa_column=_release())
    number: int = Field(sa_column=_number())
    defined: bool
    module: int | None = None
    effective_time: int = 0


class TerminologyDescription(Row, table=True):
    """A description of a concept, as ECL's term filters ask for it (RF2 §4.2.2)."""

    __tablename__ = "terminology_description"
    __table_args__ = (CLUSTERED,)

    release_id: int = Field(sa_column=_release())
    concept: int = Field(sa_column=_number())
    n: int = Field(sa_column=_number())
    code: str = Field(sa_type=Bytewise)  # the description's own identifier
    active: bool
    kind: int | None = None  # the concept of its type
    module: int | None = None
    effective_time: int = 0
    language: str
    dialects: str = ""  # " 12p 15a ": preferred in the reference set 12, acceptable in 15
    words: str  # as `text.words_of` has them, a space before each
    term: str  # in lower case


class TerminologyConcreteValue(Row, table=True):
    """An attribute of a concept whose value is a number or text (RF2 RelationshipConcreteValues)."""

    __tablename__ = "terminology_concrete_value"
    __table_args__ = (
        Index("ix_terminology_concrete_value_of", "release_id", "attribute", "number", "source"),
        CLUSTERED,
    )

    release_id: int = Field(sa_column=_release())
    source: int = Field(sa_column=_number())
    role_group: int = Field(sa_column=_number())
    attribute: int = Field(sa_column=_number())
    value: str = Field(sa_column=Column(Bytewise, primary_key=True))
    number: float | None = None  # None: it is text


RELEASE_ROWS = (  # all that a release consists of, apart from its own row
    TerminologyCode,
    TerminologyConcept,
    TerminologyChild,
    TerminologyClosure,
    TerminologyRelation,
    TerminologyProperty,
    TerminologyMember,
    TerminologyConceptState,
    TerminologyDescription,
    TerminologyConcreteValue,
)
