"""What this door offers, told from the definitions that it serves by: the body of `/fhir/metadata`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from fhir.capability import ResourceFacts, SearchParameterFacts, ServerFacts, capability_statement
from fhir.interactions.door import Policy
from fhir.interactions.served import WRITTEN_WHOLE
from fhir.interactions.table import SERVED
from fhir.model.json_codec import encode_json
from fhir.operations.operation import Level, Operation
from fhir.search.definitions import SearchParameter, SearchType, parameters_of, stored_types
from fhir.search.near import LOCATION, NEAR

INTERACTIONS = (
    "read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create", "search-type",
)  # fmt: skip
SYSTEM_INTERACTIONS = ("batch", "transaction", "history-system", "search-system")

# It has no expression, so it is not among the parameters of its type.
_WORDS = (
    SearchParameterFacts("_content", "string", "http://hl7.org/fhir/SearchParameter/Resource-content"),
    SearchParameterFacts("_text", "string", "http://hl7.org/fhir/SearchParameter/DomainResource-text"),
)
_NEAR = SearchParameterFacts(
    NEAR, SearchType.SPECIAL.value, "http://hl7.org/fhir/SearchParameter/Location-near"
)


def render_capabilities(server: ServerFacts, policy: Policy, operations: Sequence[Operation]) -> bytes:
    """The CapabilityStatement's JSON text: every type with its search parameters, includes and operations."""
    resources = [_offer(name, parameters_of(name), policy, operations) for name in sorted(stored_types())]
    facts = replace(
        server,
        system_interactions=SYSTEM_INTERACTIONS,
        operations=[(each.name, each.definition) for each in operations if Level.SYSTEM in each.levels],
        patches_json=True,
    )
    return encode_json(capability_statement(facts, resources))


def _offer(
    resource_type: str,
    parameters: Mapping[str, SearchParameter],
    policy: Policy,
    operations: Sequence[Operation],
) -> ResourceFacts:
    if (served := SERVED.get(resource_type)) is not None:
        taken = [parameters[code] for code in served.parameters if code in parameters]
        facts = [SearchParameterFacts(each.code, each.type.value, each.url) for each in taken]
        return ResourceFacts(resource_type, ("read", "search-type"), facts)
    whole = resource_type in WRITTEN_WHOLE
    return ResourceFacts(
        type=resource_type,
        interactions=[code for code in INTERACTIONS if not (whole and code == "patch")],
        search_parameters=[
            *(SearchParameterFacts(each.code, each.type.value, each.url) for each in parameters.values()),
            *_WORDS,
            *([_NEAR] if resource_type == LOCATION else []),
        ],
        includes=[
            f"{resource_type}:{each.code}"
            for each in parameters.values()
            if each.type is SearchType.REFERENCE
        ],
        reverse_includes=_leading_to(resource_type),
        operations=[
            (each.name, each.definition)
            for each in operations
            if each.serves(Level.TYPE, resource_type) or each.serves(Level.INSTANCE, resource_type)
            if not (whole and each.affects_state)
        ],
        update_creates=policy.create_on_update,
        conditional_create=True,
        conditional_update=True,
        conditional_delete="multiple" if policy.delete_multiple else "single",
    )


def _leading_to(resource_type: str) -> Sequence[str]:
    """The `_revinclude` values that bring what refers to this type."""
    return _reverse_includes()[resource_type]


@cache
def _reverse_includes() -> Mapping[str, Sequence[str]]:
    """By type that is referred to. References that may lead to any type work too; to name them is no help."""
    found: dict[str, list[str]] = defaultdict(list)
    for source_type in sorted(stored_types() - SERVED.keys()):
        for parameter in parameters_of(source_type).values():
            if parameter.type is SearchType.REFERENCE and len(parameter.targets) < len(stored_types()):
                for target_type in parameter.targets:
                    found[target_type].append(f"{source_type}:{parameter.code}")
    return found
