"""Code systems that are too large for memory, with an index of the words of their concepts."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "terminology_child",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parent", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("child", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("release_id", "parent", "child", name=op.f("pk_terminology_child")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "terminology_closure",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ancestor", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("descendant", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("release_id", "ancestor", "descendant", name=op.f("pk_terminology_closure")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "terminology_code",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("release_id", "code", name=op.f("pk_terminology_code")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "terminology_concept",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("display", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("parents", sa.Text(), nullable=False),
        sa.Column("ancestors", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("release_id", "number", name=op.f("pk_terminology_concept")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "terminology_concept_state",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("defined", sa.Boolean(), nullable=False),
        sa.Column("module", sa.Integer(), nullable=True),
        sa.Column("effective_time", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("release_id", "number", name=op.f("pk_terminology_concept_state")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "terminology_concrete_value",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role_group", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attribute", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint(
            "release_id",
            "source",
            "role_group",
            "attribute",
            "value",
            name=op.f("pk_terminology_concrete_value"),
        ),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("terminology_concrete_value", schema=None) as batch_op:
        batch_op.create_index(
            "ix_terminology_concrete_value_of", ["release_id", "attribute", "number", "source"], unique=False
        )

    op.create_table(
        "terminology_description",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("concept", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=True),
        sa.Column("module", sa.Integer(), nullable=True),
        sa.Column("effective_time", sa.Integer(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("dialects", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("term", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("release_id", "concept", "n", name=op.f("pk_terminology_description")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "terminology_member",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("refset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("concept", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("target", sa.Integer(), nullable=True),
        sa.Column("module", sa.Integer(), nullable=True),
        sa.Column("effective_time", sa.Integer(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("release_id", "refset", "concept", "n", name=op.f("pk_terminology_member")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("terminology_member", schema=None) as batch_op:
        batch_op.create_index("ix_terminology_member_of", ["release_id", "concept", "refset"], unique=False)
        batch_op.create_index(
            "ix_terminology_member_target", ["release_id", "target", "refset", "concept"], unique=False
        )

    op.create_table(
        "terminology_property",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("property", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("value", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("concept", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint(
            "release_id", "property", "value", "concept", name=op.f("pk_terminology_property")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "terminology_relation",
        sa.Column("release_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role_group", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("attribute", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("target", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint(
            "release_id", "source", "role_group", "attribute", "target", name=op.f("pk_terminology_relation")
        ),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("terminology_relation", schema=None) as batch_op:
        batch_op.create_index(
            "ix_terminology_relation_to",
            ["release_id", "attribute", "target", "source", "role_group"],
            unique=False,
        )

    op.create_table(
        "terminology_release",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("concepts", sa.Integer(), nullable=False),
        sa.Column("active_concepts", sa.Integer(), nullable=False),
        sa.Column("loaded_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terminology_release")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("terminology_release", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_terminology_release_url_state"), ["url", "state"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE terminology_words USING fts5("
            "words, content='', detail=none, columnsize=0, tokenize='ascii', prefix='1 2 3')"
        )
    else:
        op.execute(
            "CREATE INDEX ix_terminology_concept_words ON terminology_concept USING gin"
            " (array_to_tsvector(array_remove(string_to_array(words, ' '), '')))"
        )
