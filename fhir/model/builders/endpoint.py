"""The Endpoints by which the record says where images are (FHIR R4 endpoint.html).

The one for retrieval has the form of the SMART Imaging Access guide: the app appends `/studies/<UID>` to the
address, and an extension says whether it sends its access token there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir.model import systems
from fhir.model.builders.datatypes import coding, concept

Json = Any


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """One service of a DICOMweb root."""

    id: str
    connection: tuple[str, str]  # code and display of valueset-endpoint-connection-type
    name: str
    address: str  # the root, without a final slash
    media_types: Sequence[str]
    needs_token: bool  # whether the caller sends the access token by which it read this


def endpoint(facts: EndpointFacts) -> dict[str, Json]:
    """The Endpoint."""
    return {
        "resourceType": "Endpoint",
        "id": facts.id,
        "extension": [{"url": systems.REQUIRES_ACCESS_TOKEN_EXTENSION, "valueBoolean": facts.needs_token}],
        "status": "active",
        "connectionType": coding(systems.ENDPOINT_CONNECTION, *facts.connection),
        "name": facts.name,
        "payloadType": [concept(coding(systems.ENDPOINT_PAYLOAD, "any", "Any"))],
        "payloadMimeType": list(facts.media_types),
        "address": facts.address,
    }
