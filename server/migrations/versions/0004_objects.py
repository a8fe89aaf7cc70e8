"""Objects: packing, removal, scrub, and whose store it is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("objects_prefix", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "object_removal",
        sa.Column("object_name", sa.String(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("noted_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("object_name", name=op.f("pk_object_removal")),
    )
    op.create_index(op.f("ix_object_removal_due_us"), "object_removal", ["due_us"])
    op.create_table(
        "maintenance_hold",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_maintenance_hold")),
    )
    op.create_table(
        "object_walk",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("after_id", sa.BigInteger(), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=False),
        sa.Column("begun_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_us", sa.BigInteger(), nullable=True),
        sa.Column("refused", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_object_walk")),
    )
    op.create_table(
        "damaged_object",
        sa.Column(
            "instance_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("object_name", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("found_us", sa.BigInteger(), nullable=False),
        sa.Column("checked_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_damaged_object")),
    )
    op.add_column("series", sa.Column("pack_due_us", sa.BigInteger(), server_default="0", nullable=True))
    op.create_index(op.f("ix_series_pack_due_us"), "series", ["pack_due_us"])
    op.create_index(op.f("ix_instance_object_name"), "instance", ["object_name"])
