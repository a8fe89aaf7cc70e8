"""What patients deny."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text  # noqa: F401  a JSON variant renders a bare Text()

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consent_denial",
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("node", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("resource_type", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("starts_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("patient_id", "rid", "number", name=op.f("pk_consent_denial")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("consent_denial", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_consent_denial_holder"), ["holder"], unique=False)
        batch_op.create_index(batch_op.f("ix_consent_denial_rid"), ["rid"], unique=False)

    op.create_table(
        "consent_exception",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("node", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("resource_type", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("starts_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "node", "number", name=op.f("pk_consent_exception")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "consent_verdict",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("rid", name=op.f("pk_consent_verdict")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("consent_verdict", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_consent_verdict_state_rid"), ["state", "rid"], unique=False)

    op.create_table(
        "study_label",
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", "number", name=op.f("pk_study_label")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("oauth_client", schema=None) as batch_op:
        batch_op.add_column(sa.Column("represents", sa.String(), nullable=True))
    # Studies with labels are indexed once more, which keeps these (6 is the number of `_security`).
    op.execute(
        "UPDATE fhir_resource SET index_version = 0 WHERE type = 'ImagingStudy'"
        " AND rid IN (SELECT rid FROM fhir_search_token WHERE param = 6)"
    )
