"""More keys of a search, and the words of names; existing rows are filled by the job `refresh-index`."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
STUDY_TEXTS = ("study_description", "issuer_of_patient_id")
SERIES_TEXTS = (
    "series_date",
    "series_time",
    "series_description",
    "protocol_name",
    "body_part_examined",
    "station_name",
    "institution_name",
    "manufacturer",
    "manufacturer_model_name",
)
PREFIX_INDEXES = (
    ("study", "study_description"),
    ("series", "series_description"),
    ("series", "body_part_examined"),
    ("series", "institution_name"),
    ("series", "manufacturer_model_name"),
)


def upgrade() -> None:
    for table, columns in (("study", STUDY_TEXTS), ("series", SERIES_TEXTS)):
        for column in columns:
            op.add_column(table, sa.Column(column, sa.String(), server_default="", nullable=False))
        op.add_column(table, sa.Column("index_version", sa.Integer(), server_default="0", nullable=False))
        op.create_index(op.f(f"ix_{table}_index_version"), table, ["index_version"])
    op.create_index(op.f("ix_series_series_date"), "series", ["series_date"])
    for table, column in PREFIX_INDEXES:
        _create_prefix_index(table, column)
    _create_study_name()


def _create_study_name() -> None:
    op.create_table(
        "study_name",
        sa.Column("study_id", BIG_KEY, nullable=False),
        sa.Column("attribute", sa.String(), nullable=False),
        sa.Column("word", sa.String(), nullable=False),
        sa.Column("sound", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_study_name_study_id_study"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", "attribute", "word", name=op.f("pk_study_name")),
    )
    op.create_index(op.f("ix_study_name_sound"), "study_name", ["sound"])
    _create_prefix_index("study_name", "word")


def _create_prefix_index(table: str, column: str) -> None:
    op.create_index(
        op.f(f"ix_{table}_{column}"), table, [column], postgresql_ops={column: "text_pattern_ops"}
    )
