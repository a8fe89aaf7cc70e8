"""What this server can do, as the CapabilityStatement at /fhir/metadata (FHIR R4 capabilitystatement.html).

Pure: the roof says what is mounted, and this lays it out. Security as SMART App Launch 2.2 wants it: the
service and, for older clients, the OAuth endpoints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fhir.model import systems
from fhir.model.builders.datatypes import coding, concept, elements
from fhir.outcome import FHIR_JSON, JSON_PATCH

Json = Any

FHIR_VERSION = "4.0.1"
SOFTWARE = "Isthmus"

# What the HL7 terminology ecosystem looks for (its guide, "Requirements").
TERMINOLOGY_SERVER = "http://hl7.org/fhir/CapabilityStatement/terminology-server"
TESTED_WITH = "1.9.3"  # the version of its test cases
FEATURES: Sequence[tuple[str, str, Json]] = (
    ("http://hl7.org/fhir/uv/tx-tests/FeatureDefinition/test-version", "valueCode", TESTED_WITH),
    ("http://hl7.org/fhir/uv/tx-ecosystem/FeatureDefinition/CodeSystemAsParameter", "valueBoolean", True),
)
_FEATURE = "http://hl7.org/fhir/uv/application-feature/StructureDefinition/feature"


@dataclass(frozen=True, slots=True)
class SearchParameterFacts:
    """A search parameter that a type can be searched by."""

    name: str
    type: str  # number | date | string | token | reference | composite | quantity | uri | special
    definition: str | None = None  # canonical URL


@dataclass(frozen=True, slots=True)
class ResourceFacts:
    """What can be done with one resource type."""

    type: str
    interactions: Sequence[str]  # type-restful-interaction codes: read, vread, create, search-type, …
    search_parameters: Sequence[SearchParameterFacts] = ()
    includes: Sequence[str] = ()
    reverse_includes: Sequence[str] = ()
    profiles: Sequence[str] = ()
    operations: Sequence[tuple[str, str]] = ()  # (name, canonical URL of its definition)
    update_creates: bool = False
    conditional_create: bool = False
    conditional_update: bool = False
    conditional_delete: str = "not-supported"  # conditional-delete-status: not-supported, single, multiple
    conditional_read: str = "full-support"  # conditional-read-status


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server as a whole."""

    base: str  # URL of the FHIR base, without a final slash
    software_version: str
    date: str  # when the statement last changed: dateTime
    system_interactions: Sequence[str] = ()  # transaction, batch, search-system, history-system
    operations: Sequence[tuple[str, str]] = ()
    oauth_uris: Mapping[str, str] = field(default_factory=dict)  # authorize, token, register, … → URL
    patches_json: bool = False
    cors: bool = False


def capability_statement(server: ServerFacts, resources: Sequence[ResourceFacts]) -> dict[str, Json]:
    """The CapabilityStatement; a server without `oauth_uris` asks nobody who they are, and says so."""
    rest = elements(
        mode="server",
        security=_security(server),
        resource=[_resource(r) for r in sorted(resources, key=lambda r: r.type)],
        interaction=[{"code": code} for code in server.system_interactions],
        operation=_operations(server.operations),
    )
    return elements(
        resourceType="CapabilityStatement",
        extension=[_feature(*each) for each in FEATURES],
        url=f"{server.base}/metadata",
        version=server.software_version,
        name=SOFTWARE,
        title=f"{SOFTWARE} FHIR R4 server",
        status="active",
        date=server.date,
        kind="instance",
        instantiates=[TERMINOLOGY_SERVER],
        software={"name": SOFTWARE, "version": server.software_version, "releaseDate": server.date},
        implementation={"description": f"{SOFTWARE}: imaging archive and record", "url": server.base},
        fhirVersion=FHIR_VERSION,
        format=[FHIR_JSON, "json"],
        patchFormat=[JSON_PATCH] if server.patches_json else None,
        rest=[rest],
    )


def _feature(definition: str, kind: str, value: Json) -> dict[str, Json]:
    parts = [{"url": "definition", "valueCanonical": definition}, {"url": "value", kind: value}]
    return {"extension": parts, "url": _FEATURE}


def _security(server: ServerFacts) -> dict[str, Json]:
    if not server.oauth_uris:
        return {"cors": server.cors, "description": "No login: this server trusts its own machine."}
    uris = [{"url": name, "valueUri": uri} for name, uri in server.oauth_uris.items()]
    service = concept(
        coding(systems.SECURITY_SERVICE, "SMART-on-FHIR", "SMART-on-FHIR"), text="SMART App Launch"
    )
    return {
        "extension": [{"url": systems.OAUTH_URIS_EXTENSION, "extension": uris}],
        "cors": server.cors,
        "service": [service],
    }


def _resource(facts: ResourceFacts) -> dict[str, Json]:
    return elements(
        type=facts.type,
        supportedProfile=list(facts.profiles),
        interaction=[{"code": code} for code in facts.interactions],
        versioning="versioned-update" if "update" in facts.interactions else "versioned",
        readHistory="vread" in facts.interactions,
        updateCreate=facts.update_creates,
        conditionalCreate=facts.conditional_create,
        conditionalUpdate=facts.conditional_update,
        conditionalRead=facts.conditional_read,
        conditionalDelete=facts.conditional_delete,
        searchInclude=list(facts.includes),
        searchRevInclude=list(facts.reverse_includes),
        searchParam=[
            elements(name=p.name, definition=p.definition, type=p.type) for p in facts.search_parameters
        ],
        operation=_operations(facts.operations),
    )


def _operations(operations: Sequence[tuple[str, str]]) -> list[dict[str, Json]]:
    return [{"name": name, "definition": definition} for name, definition in operations]
