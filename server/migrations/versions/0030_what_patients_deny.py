"""What patients deny."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text  # noqa: F401  a JSON variant renders a bare Text()

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

SHARED_TYPES = (
        "ActivityDefinition", "CapabilityStatement", "CatalogEntry", "ChargeItemDefinition", "CodeSystem",
        "CompartmentDefinition", "ConceptMap", "Device", "DeviceDefinition", "DeviceMetric", "Endpoint",
        "EventDefinition", "GraphDefinition", "HealthcareService", "ImplementationGuide", "InsurancePlan",
        "Library", "Location", "Measure", "Medication", "MedicationKnowledge", "MessageDefinition",
        "NamingSystem", "ObservationDefinition", "OperationDefinition", "Organization",
        "OrganizationAffiliation", "PlanDefinition", "Practitioner", "PractitionerRole", "Questionnaire",
        "SearchParameter", "SpecimenDefinition", "StructureDefinition", "StructureMap", "Substance",
        "SubstanceSpecification", "TerminologyCapabilities", "ValueSet",
)  # fmt: skip


def upgrade() -> None:
    _create_rules()
    _create_verdicts()
    _create_what_is_told()
    _know_what_is_there()
    with op.batch_alter_table("oauth_client", schema=None) as batch_op:
        batch_op.add_column(sa.Column("represents", sa.String(), nullable=True))


def _create_rules() -> None:
    op.create_table(
        "consent_denial",
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("node", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("resource_type", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("starts_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("patient_id", "actor", "rid", "number", name=op.f("pk_consent_denial")),
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
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("resource_type", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("starts_us", sa.BigInteger(), nullable=False),
        sa.Column("ends_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "node", "actor", "number", name=op.f("pk_consent_exception")),
        sqlite_with_rowid=False,
    )


def _create_verdicts() -> None:
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


def _create_what_is_told() -> None:
    op.create_table(
        "study_label",
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", "number", name=op.f("pk_study_label")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fhir_mention",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "version_id", "patient_id", name=op.f("pk_fhir_mention")),
        sqlite_with_rowid=False,
    )


def _know_what_is_there() -> None:
    # Whom superseded versions told of is not known any more, where it was nobody's record: as if of several.
    history = sa.table("fhir_resource_history", sa.column("rid"), sa.column("patient_id"))
    resource = sa.table("fhir_resource", sa.column("rid"), sa.column("type"))
    private = sa.select(resource.c.rid).where(resource.c.type.not_in(SHARED_TYPES))
    unknown = sa.or_(
        history.c.patient_id == "?", sa.and_(history.c.patient_id == "", history.c.rid.in_(private))
    )
    op.execute(sa.update(history).where(unknown).values(patient_id=None))
    # Studies with labels are indexed once more, which keeps these (6 is the number of `_security`).
    op.execute(
        "UPDATE fhir_resource SET index_version = 0 WHERE type = 'ImagingStudy'"
        " AND rid IN (SELECT rid FROM fhir_search_token WHERE param = 6)"
    )
