"""Codes of other code systems that SNOMED CT's reference sets map to, to be found by them."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("terminology_member", sa.Column("map_target", bytewise, nullable=True))
    op.create_index(
        "ix_terminology_member_map",
        "terminology_member",
        ["release_id", "refset", "map_target", "concept"],
        unique=False,
        sqlite_where=sa.text("map_target IS NOT NULL"),
        postgresql_where=sa.text("map_target IS NOT NULL"),
    )
