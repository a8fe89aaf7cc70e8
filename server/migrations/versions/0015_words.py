"""Search of narratives and contents; resources indexed by an earlier release are indexed again."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_INTO = (
    "INSERT INTO fhir_search_words(rowid, narrative, content) VALUES (new.rid, new.narrative, new.content)"
)
_OUT_OF = (
    "INSERT INTO fhir_search_words(fhir_search_words, rowid, narrative, content)"
    " VALUES ('delete', old.rid, old.narrative, old.content)"
)


def upgrade() -> None:
    op.create_table(
        "fhir_search_text",
        sa.Column("rid", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=False),
        sa.Column("narrative", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("rid", name=op.f("pk_fhir_search_text")),
    )
    op.add_column(
        "fhir_resource", sa.Column("index_version", sa.Integer(), nullable=False, server_default="0")
    )
    op.create_index(op.f("ix_fhir_resource_index_version"), "fhir_resource", ["index_version"])
    if op.get_bind().dialect.name == "sqlite":
        _index_on_sqlite()
    else:
        for name in ("narrative", "content"):
            op.execute(
                f"CREATE INDEX ix_fhir_search_text_{name} ON fhir_search_text"
                f" USING gin (to_tsvector('simple', {name}))"
            )


def _index_on_sqlite() -> None:
    op.execute(
        "CREATE VIRTUAL TABLE fhir_search_words USING fts5("
        "narrative, content, content='fhir_search_text', content_rowid='rid', tokenize='unicode61')"
    )
    for event, body in {
        "INSERT": _INTO,
        "DELETE": _OUT_OF,
        "UPDATE": f"{_OUT_OF}; {_INTO}",
    }.items():
        on = f"fhir_search_words_{event.lower()} AFTER {event} ON fhir_search_text"
        op.execute(f"CREATE TRIGGER {on} BEGIN {body}; END")
