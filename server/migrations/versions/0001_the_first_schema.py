"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text  # noqa: F401  a JSON variant renders a bare Text()

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_token",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=True),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=True),
        sa.Column("issued_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_access_token_token_hash")),
    )
    with op.batch_alter_table("access_token", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_access_token_client_id"), ["client_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_access_token_expires_us"), ["expires_us"], unique=False)

    op.create_table(
        "audit_entry",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("recorded_us", sa.BigInteger(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("interaction", sa.String(), nullable=False),
        sa.Column("resource_type", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=True),
        sa.Column("patient_id", sa.String(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_entry")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("audit_entry", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_audit_entry_patient_id_recorded_us"), ["patient_id", "recorded_us"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_audit_entry_recorded_us"), ["recorded_us"], unique=False)

    op.create_table(
        "client_assertion_jti",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("jti", sa.String(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client_assertion_jti")),
        sa.UniqueConstraint("issuer", "jti", name=op.f("uq_client_assertion_jti_issuer_jti")),
    )
    with op.batch_alter_table("client_assertion_jti", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_client_assertion_jti_expires_us"), ["expires_us"], unique=False)

    op.create_table(
        "fhir_compartment",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "patient_id", name=op.f("pk_fhir_compartment")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("fhir_compartment", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fhir_compartment_patient_id_rid"), ["patient_id", "rid"], unique=False
        )

    op.create_table(
        "fhir_resource",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("last_updated_us", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("rid", name=op.f("pk_fhir_resource")),
        sa.UniqueConstraint("type", "id", name=op.f("uq_fhir_resource_type_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("fhir_resource", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fhir_resource_type_last_updated_us_rid"),
            ["type", "last_updated_us", "rid"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_fhir_resource_type_rid"), ["type", "rid"], unique=False)

    op.create_table(
        "fhir_resource_history",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("last_updated_us", sa.BigInteger(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "version_id", name=op.f("pk_fhir_resource_history")),
    )
    op.create_table(
        "fhir_search_date",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("param", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("low_us", sa.BigInteger(), nullable=False),
        sa.Column("high_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "param", "n", name=op.f("pk_fhir_search_date")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("fhir_search_date", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fhir_search_date_param_high_us_rid"), ["param", "high_us", "rid"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_fhir_search_date_param_low_us_high_us_rid"),
            ["param", "low_us", "high_us", "rid"],
            unique=False,
        )

    op.create_table(
        "fhir_search_quantity",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("param", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "param", "n", name=op.f("pk_fhir_search_quantity")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("fhir_search_quantity", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fhir_search_quantity_param_high_rid"), ["param", "high", "rid"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_fhir_search_quantity_param_low_high_rid"),
            ["param", "low", "high", "rid"],
            unique=False,
        )

    op.create_table(
        "fhir_search_reference",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("param", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("target_type", sa.String(), nullable=True),
        sa.Column("target_id", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("identifier_system", sa.String(), nullable=True),
        sa.Column("identifier_value", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("rid", "param", "n", name=op.f("pk_fhir_search_reference")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("fhir_search_reference", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fhir_search_reference_param_identifier_value_rid"),
            ["param", "identifier_value", "rid"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_fhir_search_reference_param_target_id_target_type_rid"),
            ["param", "target_id", "target_type", "rid"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_fhir_search_reference_param_url_rid"), ["param", "url", "rid"], unique=False
        )

    op.create_table(
        "fhir_search_string",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("param", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("head", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.Column("folded", sa.Text(), nullable=True),
        sa.Column("exact", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "param", "n", name=op.f("pk_fhir_search_string")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("fhir_search_string", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fhir_search_string_param_head_rid"), ["param", "head", "rid"], unique=False
        )

    op.create_table(
        "fhir_search_token",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("param", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "param", "n", name=op.f("pk_fhir_search_token")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("fhir_search_token", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fhir_search_token_param_code_system_rid"),
            ["param", "code", "system", "rid"],
            unique=False,
        )

    op.create_table(
        "fhir_search_uri",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("param", sa.Integer(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("uri", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("rid", "param", "n", name=op.f("pk_fhir_search_uri")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("fhir_search_uri", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fhir_search_uri_param_uri_rid"), ["param", "uri", "rid"], unique=False
        )

    op.create_table(
        "model_version",
        sa.Column(
            "pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("registered_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_model_version")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_model_version_name_version")),
    )
    op.create_table(
        "oauth_client",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("token_endpoint_auth_method", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String(), nullable=True),
        sa.Column("jwks", sa.Text(), nullable=True),
        sa.Column("jwks_uri", sa.String(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("grant_types", sa.Text(), nullable=False),
        sa.Column("redirect_uris", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("disabled_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_client")),
        sa.UniqueConstraint("client_id", name=op.f("uq_oauth_client_client_id")),
    )
    op.create_table(
        "outbox_cursor",
        sa.Column("reader", sa.String(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reader", name=op.f("pk_outbox_cursor")),
    )
    op.create_table(
        "outbox_event",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("occurred_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_outbox_event")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("outbox_event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outbox_event_kind_sequence"), ["kind", "sequence"], unique=False)

    op.create_table(
        "patient_identity",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("birth_date", sa.String(), nullable=True),
        sa.Column("sex", sa.String(), nullable=True),
        sa.Column("name_folded", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_identity")),
        sa.UniqueConstraint("system", "value", name=op.f("uq_patient_identity_system_value")),
    )
    with op.batch_alter_table("patient_identity", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_patient_identity_patient_id"), ["patient_id"], unique=False)

    op.create_table(
        "patient_merge",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("source_active", sa.Boolean(), nullable=True),
        sa.Column("merged_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_patient_merge")),
    )
    with op.batch_alter_table("patient_merge", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_patient_merge_target"), ["target"], unique=False)

    op.create_table(
        "routing_rule",
        sa.Column(
            "pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("quiet_time_s", sa.Float(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_routing_rule")),
        sa.UniqueConstraint("name", name=op.f("uq_routing_rule_name")),
    )
    op.create_table(
        "settling_study",
        sa.Column(
            "pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_settling_study")),
        sa.UniqueConstraint(
            "study_instance_uid", "rule", name=op.f("uq_settling_study_study_instance_uid_rule")
        ),
    )
    with op.batch_alter_table("settling_study", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_settling_study_due_us"), ["due_us"], unique=False)

    op.create_table(
        "study",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("study_date", sa.String(), nullable=False),
        sa.Column("study_time", sa.String(), nullable=False),
        sa.Column("accession_number", sa.String(), nullable=False),
        sa.Column("study_identifier", sa.String(), nullable=False),
        sa.Column("referring_physician_name_folded", sa.String(), nullable=False),
        sa.Column("referring_physician_name_ideographic", sa.String(), nullable=False),
        sa.Column("referring_physician_name_phonetic", sa.String(), nullable=False),
        sa.Column("patient_name_folded", sa.String(), nullable=False),
        sa.Column("patient_name_ideographic", sa.String(), nullable=False),
        sa.Column("patient_name_phonetic", sa.String(), nullable=False),
        sa.Column("patient_name_words", sa.String(), nullable=False),
        sa.Column("patient_birth_date", sa.String(), nullable=False),
        sa.Column("patient_sex", sa.String(), nullable=False),
        sa.Column("patient_system", sa.String(), nullable=True),
        sa.Column("patient_value", sa.String(), nullable=True),
        sa.Column("patient_id", sa.String(), nullable=True),
        sa.Column("identified_id", sa.String(), nullable=True),
        sa.Column("link_state", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("input_changed_us", sa.BigInteger(), nullable=True),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_study_study_instance_uid")),
    )
    with op.batch_alter_table("study", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_study_accession_number"),
            ["accession_number"],
            unique=False,
            postgresql_ops={"accession_number": "text_pattern_ops"},
        )
        batch_op.create_index(batch_op.f("ix_study_link_state"), ["link_state"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_study_patient_id_study_date_id"), ["patient_id", "study_date", "id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_study_patient_name_folded"),
            ["patient_name_folded"],
            unique=False,
            postgresql_ops={"patient_name_folded": "text_pattern_ops"},
        )
        batch_op.create_index(
            batch_op.f("ix_study_patient_name_ideographic"),
            ["patient_name_ideographic"],
            unique=False,
            postgresql_ops={"patient_name_ideographic": "text_pattern_ops"},
        )
        batch_op.create_index(
            batch_op.f("ix_study_patient_name_phonetic"),
            ["patient_name_phonetic"],
            unique=False,
            postgresql_ops={"patient_name_phonetic": "text_pattern_ops"},
        )
        batch_op.create_index(
            batch_op.f("ix_study_patient_system_patient_value"),
            ["patient_system", "patient_value"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_study_patient_value"),
            ["patient_value"],
            unique=False,
            postgresql_ops={"patient_value": "text_pattern_ops"},
        )
        batch_op.create_index(
            batch_op.f("ix_study_referring_physician_name_folded"),
            ["referring_physician_name_folded"],
            unique=False,
            postgresql_ops={"referring_physician_name_folded": "text_pattern_ops"},
        )
        batch_op.create_index(batch_op.f("ix_study_study_date_id"), ["study_date", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_study_study_identifier"),
            ["study_identifier"],
            unique=False,
            postgresql_ops={"study_identifier": "text_pattern_ops"},
        )

    op.create_table(
        "workitem",
        sa.Column(
            "pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("workitem_uid", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("priority", sa.String(), nullable=False),
        sa.Column("transaction_uid", sa.String(), nullable=True),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=True),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("model_name", sa.String(), nullable=False),
        sa.Column("model_version", sa.String(), nullable=False),
        sa.Column("input_hash", sa.String(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("scheduled_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("not_before_us", sa.BigInteger(), nullable=True),
        sa.Column("started_us", sa.BigInteger(), nullable=True),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("progress_text", sa.String(), nullable=True),
        sa.Column("cancel_requested_us", sa.BigInteger(), nullable=True),
        sa.Column("reason_scheme", sa.String(), nullable=True),
        sa.Column("reason_code", sa.String(), nullable=True),
        sa.Column("reason_meaning", sa.String(), nullable=True),
        sa.Column("reason_text", sa.Text(), nullable=True),
        sa.Column("predecessor_uid", sa.String(), nullable=True),
        sa.Column("successor_uid", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_workitem")),
        sa.UniqueConstraint(
            "study_instance_uid",
            "rule",
            "model_name",
            "model_version",
            "input_hash",
            "run",
            name=op.f("uq_workitem_study_instance_uid_rule_model_name_model_version_input_hash_run"),
        ),
        sa.UniqueConstraint("workitem_uid", name=op.f("uq_workitem_workitem_uid")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("workitem", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_workitem_patient_id"), ["patient_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_workitem_state_scheduled_us"), ["state", "scheduled_us"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_workitem_study_instance_uid_rule"), ["study_instance_uid", "rule"], unique=False
        )

    op.create_table(
        "series",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("series_instance_uid", sa.String(), nullable=False),
        sa.Column("modality", sa.String(), nullable=False),
        sa.Column("series_number", sa.Integer(), nullable=True),
        sa.Column("performed_procedure_step_start_date", sa.String(), nullable=False),
        sa.Column("performed_procedure_step_start_time", sa.String(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("superseded_us", sa.BigInteger(), nullable=True),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_series_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint("series_instance_uid", name=op.f("uq_series_series_instance_uid")),
    )
    with op.batch_alter_table("series", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_series_modality_study_id"), ["modality", "study_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_series_performed_procedure_step_start_date"),
            ["performed_procedure_step_start_date"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_series_study_id_superseded_us_modality"),
            ["study_id", "superseded_us", "modality"],
            unique=False,
        )

    op.create_table(
        "workitem_attempt",
        sa.Column(
            "pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("workitem_pk", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["workitem_pk"], ["workitem.pk"], name=op.f("fk_workitem_attempt_workitem_pk_workitem")
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_workitem_attempt")),
        sa.UniqueConstraint("workitem_pk", "number", name=op.f("uq_workitem_attempt_workitem_pk_number")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "instance",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("study_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("series_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("sop_class_uid", sa.String(), nullable=False),
        sa.Column("instance_number", sa.Integer(), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("columns", sa.Integer(), nullable=True),
        sa.Column("bits_allocated", sa.Integer(), nullable=True),
        sa.Column("number_of_frames", sa.Integer(), nullable=True),
        sa.Column("transfer_syntax_uid", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("stored_us", sa.BigInteger(), nullable=False),
        sa.Column("superseded_us", sa.BigInteger(), nullable=True),
        sa.Column("object_name", sa.String(), nullable=False),
        sa.Column("object_offset", sa.BigInteger(), nullable=False),
        sa.Column("object_length", sa.BigInteger(), nullable=False),
        sa.Column("data_set_offset", sa.Integer(), nullable=False),
        sa.Column("file_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("data_set_sha256", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_instance_series_id_series")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_instance_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instance")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_instance_sop_instance_uid")),
    )
    with op.batch_alter_table("instance", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_instance_series_id_superseded_us_instance_number"),
            ["series_id", "superseded_us", "instance_number"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_instance_sop_class_uid"), ["sop_class_uid"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_instance_study_id_superseded_us"), ["study_id", "superseded_us"], unique=False
        )

    op.create_table(
        "series_request",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("series_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("scheduled_procedure_step_id", sa.String(), nullable=False),
        sa.Column("requested_procedure_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=op.f("fk_series_request_series_id_series")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series_request")),
    )
    with op.batch_alter_table("series_request", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_series_request_requested_procedure_id"),
            ["requested_procedure_id"],
            unique=False,
            postgresql_ops={"requested_procedure_id": "text_pattern_ops"},
        )
        batch_op.create_index(
            batch_op.f("ix_series_request_scheduled_procedure_step_id"),
            ["scheduled_procedure_step_id"],
            unique=False,
            postgresql_ops={"scheduled_procedure_step_id": "text_pattern_ops"},
        )
        batch_op.create_index(batch_op.f("ix_series_request_series_id"), ["series_id"], unique=False)

    op.create_table(
        "instance_metadata",
        sa.Column("instance_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("dicom_json", sa.LargeBinary(), nullable=False),
        sa.Column("pixel_layout", sa.LargeBinary(), nullable=True),
        sa.Column("bulk_values", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["instance_id"], ["instance.id"], name=op.f("fk_instance_metadata_instance_id_instance")
        ),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_instance_metadata")),
    )
