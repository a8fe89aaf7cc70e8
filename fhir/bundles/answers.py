"""What became of each entry: a Bundle of type batch-response or transaction-response (bundle.html). Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from fhir.bundles.read import BundleType
from fhir.exchange import Answer, FhirRequest
from fhir.interactions.write import Written
from fhir.model.json_codec import encode_json
from fhir.negotiation import Return, read_preferences
from fhir.outcome import outcome_of
from server.kernel.clock import SECOND_US, instant_text
from server.kernel.faults import Fault

Json = Any

OK, CREATED, NO_CONTENT = "200 OK", "201 Created", "204 No Content"


@dataclass(frozen=True, slots=True)
class Done:
    """One entry of the answer: its response, and a resource's text if one is wanted."""

    response: Mapping[str, Json]
    text: bytes = b""


def done_of(answer: Answer, *, full: bool) -> Done:
    """The entry of an answer; `full`: with its resource."""
    headers = {name.lower(): value for name, value in answer.headers.items()}
    response: dict[str, Json] = {"status": f"{answer.status.value} {answer.status.phrase}"}
    for name, header in (("location", "location"), ("etag", "etag")):
        if header in headers:
            response[name] = headers[header]
    if "last-modified" in headers:
        moment = parsedate_to_datetime(headers["last-modified"])
        response["lastModified"] = instant_text(int(moment.timestamp()) * SECOND_US)
    if answer.text.startswith(b'{"resourceType":"OperationOutcome"') and not full:
        return Done({**response, "outcome": orjson.Fragment(answer.text)})
    return Done(response, answer.text if full else b"")


def done_of_written(place: str, written: Written, text: bytes) -> Done:
    """The entry of a write, not by way of headers; `place` is the URL of the type, empty of a delete."""
    if not place and not written.changed:  # there was nothing to delete
        return Done({"status": NO_CONTENT})
    response = {"status": CREATED if written.created else OK if place else NO_CONTENT}
    if place:
        response["location"] = f"{place}/{written.id}/_history/{written.version_id}"
    response["etag"] = f'W/"{written.version_id}"'
    response["lastModified"] = instant_text(written.last_updated_us)
    return Done(response, text)


def failed(fault: Fault) -> Done:
    """The entry of what was refused."""
    status = f"{fault.status.value} {fault.status.phrase}"
    return Done({"status": status, "outcome": orjson.Fragment(encode_json(outcome_of(fault)))})


def wants_resources(request: FhirRequest) -> bool:
    """Whether the answer repeats what was written: only if asked to, a Bundle may be long."""
    stated = request.headers.get("prefer", "")
    return "return" in stated and read_preferences([stated]).returned is Return.REPRESENTATION


def render(kind: BundleType, entries: Sequence[Done]) -> bytes:
    """The Bundle's JSON text; its entries are in the order in which they were asked."""
    rendered = b",".join(map(_rendered, entries))
    members = b'{"resourceType":"Bundle","type":"%b-response"' % kind.value.encode()
    return members + (b',"entry":[' + rendered + b"]}" if entries else b"}")


def _rendered(entry: Done) -> bytes:
    response = b'"response":' + orjson.dumps(entry.response)
    return b'{"resource":%b,%b}' % (entry.text, response) if entry.text else b"{" + response + b"}"
