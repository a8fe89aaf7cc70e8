"""What this door offers, told from the definitions that it serves by: the body of `/fhir/metadata`."""

from collections.abc import Mapping

from fhir.capability import ResourceFacts, SearchParameterFacts, ServerFacts, capability_statement
from fhir.model.json_codec import encode_json
from fhir.search.definitions import SearchParameter, SearchType, parameters_of, stored_types

INTERACTIONS = ("read", "vread", "create", "update", "search-type")


def render_capabilities(server: ServerFacts, *, create_on_update: bool = False) -> bytes:
    """The CapabilityStatement's JSON text: every type with its search parameters and includes."""
    resources = [_offer(name, parameters_of(name), create_on_update) for name in sorted(stored_types())]
    return encode_json(capability_statement(server, resources))


def _offer(
    resource_type: str, parameters: Mapping[str, SearchParameter], create_on_update: bool
) -> ResourceFacts:
    return ResourceFacts(
        type=resource_type,
        interactions=INTERACTIONS,
        search_parameters=[
            SearchParameterFacts(each.code, each.type.value, each.url) for each in parameters.values()
        ],
        includes=[
            f"{resource_type}:{each.code}"
            for each in parameters.values()
            if each.type is SearchType.REFERENCE
        ],
        update_creates=create_on_update,
        conditional_create=True,
    )
