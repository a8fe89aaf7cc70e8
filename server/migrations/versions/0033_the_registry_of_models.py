"""Stages, gates, evaluations, shadow results and verdicts of models; the files of bundles that were added."""

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text, text  # noqa: F401  a JSON variant renders a bare Text()

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _versions()
    _models_and_changes()
    _evaluations()
    _results()
    with op.batch_alter_table("workitem_attempt", schema=None) as batch_op:
        batch_op.add_column(sa.Column("model_version", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("fault", sa.String(), nullable=True))
        batch_op.create_index(batch_op.f("ix_workitem_attempt_ended_us"), ["ended_us"], unique=False)


def _versions() -> None:
    with op.batch_alter_table("model_version", schema=None) as batch_op:
        batch_op.add_column(sa.Column("files", sa.Text(), nullable=False, server_default="[]"))
        batch_op.add_column(sa.Column("device_id", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("barred_us", sa.BigInteger(), nullable=True))
        batch_op.create_index(batch_op.f("ix_model_version_device_id"), ["device_id"], unique=False)
    for stage, stored in (
        ("production", "live"),
        ("canary", "canary"),
    ):  # "live": the last release asks for it
        where = text(f"stage = '{stored}'")
        op.create_index(
            f"uq_model_version_{stage}",
            "model_version",
            ["name"],
            unique=True,
            sqlite_where=where,
            postgresql_where=where,
        )
    op.create_table(
        "model_file_chunk",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kept_us", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", "number", name=op.f("pk_model_file_chunk")),
    )


def _models_and_changes() -> None:
    op.create_table(
        "model",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("canary_share", sa.Integer(), nullable=False),
        sa.Column("previous_version", sa.String(), nullable=True),
        sa.Column("gate", sa.Text(), nullable=True),
        sa.Column("limits", sa.Text(), nullable=True),
        sa.Column("governed_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_model")),
    )
    op.execute(
        "INSERT INTO model (name, revision, canary_share) SELECT DISTINCT name, 0, 0 FROM model_version"
    )
    op.create_table(
        "model_change",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("after", sa.String(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_model_change")),
    )
    op.create_index(op.f("ix_model_change_model_name_pk"), "model_change", ["model_name", "pk"])
    _versions_in_production()


def _versions_in_production() -> None:
    """They are so from now on: attempts before tell no version, and no window begins before its line here."""
    op.execute(
        sa.text(
            'INSERT INTO model_change (model_name, version, at_us, "by", act, after)'
            " SELECT name, version, :at_us, 'system:installer', 'upgrade', 'production'"
            " FROM model_version WHERE stage = 'live'"
        ).bindparams(sa.bindparam("at_us", time.time_ns() // 1000, sa.BigInteger))
    )


def _evaluations() -> None:
    op.create_table(
        "holdout_set",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.Column("registered_us", sa.BigInteger(), nullable=False),
        sa.Column("registered_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_holdout_set")),
    )
    op.create_table(
        "model_evaluation",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("holdout", sa.String(), nullable=False),
        sa.Column("holdout_digest", sa.String(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("tables", sa.Text(), nullable=False),
        sa.Column("outcomes", sa.Text(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_model_evaluation")),
    )
    columns = ["model_name", "version", "pk"]
    op.create_index(op.f("ix_model_evaluation_model_name_version_pk"), "model_evaluation", columns)


def _results() -> None:
    op.create_table(
        "shadow_result",
        sa.Column("pk", _KEY, autoincrement=True, nullable=False),
        sa.Column("workitem_uid", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("clinical_version", sa.String(), nullable=False),
        sa.Column("clinical", sa.Text(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("fault", sa.String(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("findings", sa.Text(), nullable=True),
        sa.Column("agreement", sa.Text(), nullable=True),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_shadow_result")),
        sa.UniqueConstraint(
            "workitem_uid",
            "model_name",
            "version",
            name=op.f("uq_shadow_result_workitem_uid_model_name_version"),
        ),
    )
    columns = ["model_name", "version", "pk"]
    op.create_index(op.f("ix_shadow_result_model_name_version_pk"), "shadow_result", columns)
    op.create_index(op.f("ix_shadow_result_at_us"), "shadow_result", ["at_us"])
    op.create_index(op.f("ix_shadow_result_study_instance_uid"), "shadow_result", ["study_instance_uid"])
    op.create_table(
        "model_verdict",
        sa.Column("workitem_uid", sa.String(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workitem_uid", name=op.f("pk_model_verdict")),
    )
    columns = ["model_name", "version", "at_us"]
    op.create_index(op.f("ix_model_verdict_model_name_version_at_us"), "model_verdict", columns)
