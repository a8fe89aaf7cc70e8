"""What a read or a write answers: status, headers and body, as `Prefer` asks (FHIR R4 http.html#ops)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fhir.consents.keep import CONSENT
from fhir.consents.told import issues_of_consent
from fhir.exchange import Answer, FhirRequest
from fhir.interactions.door import Door
from fhir.interactions.etag import is_unchanged, version_headers
from fhir.interactions.read import Stored
from fhir.interactions.write import Written
from fhir.model.json_codec import decode_json, encode_json
from fhir.model.validation.issue import Issue, IssueType, Severity
from fhir.negotiation import Return, read_preferences
from fhir.outcome import operation_outcome
from fhir.search.result_parameters import read_subset
from fhir.search.subset import subset_text


def answer_stored(request: FhirRequest, stored: Stored) -> Answer:
    """A version as stored, or its part that is asked for; 304 when the client has it (http.html#cread).

    Raises:
        InvalidSearch: `_summary` or `_elements` makes no sense.
    """
    subset = read_subset(stored.type, request.pairs) if request.pairs else None
    headers = version_headers(stored.version_id, stored.last_updated_us)
    if is_unchanged(request.headers, stored.version_id, stored.last_updated_us):
        return Answer(HTTPStatus.NOT_MODIFIED, b"", headers)
    text = subset_text(stored.text, stored.type, subset) if subset else stored.text
    return Answer(HTTPStatus.OK, text, headers)


def answer_written(door: Door, request: FhirRequest, written: Written) -> Answer:
    """What create, update and patch did."""
    status = HTTPStatus.CREATED if written.created else HTTPStatus.OK
    headers = version_headers(written.version_id, written.last_updated_us)
    place = f"{door.base_url}/{request.resource_type}/{written.id}"
    headers["Location"] = f"{place}/_history/{written.version_id}"
    returned = read_preferences([request.headers.get("prefer", "")]).returned
    if returned is Return.MINIMAL:
        return Answer(status, b"", headers)
    if returned is Return.OPERATION_OUTCOME:
        warnings: Sequence[Issue] = ()
        if request.resource_type == CONSENT and written.text:
            warnings = issues_of_consent(decode_json(written.text), door.surroundings())
        said = "Stored." if written.changed else "Nothing was to be written."
        return _told(said, status, headers, warnings)
    return Answer(status, written.text, headers)


def answer_deleted(request: FhirRequest, written: Written) -> Answer:
    """What delete did: 204, or 200 with an outcome for who prefers one; the ETag is of the deletion."""
    headers = version_headers(written.version_id, written.last_updated_us) if written.changed else {}
    if read_preferences([request.headers.get("prefer", "")]).returned is Return.OPERATION_OUTCOME:
        said = "Deleted." if written.changed else "There was nothing to delete."
        return _told(said, HTTPStatus.OK, headers)
    return Answer(HTTPStatus.NO_CONTENT, b"", headers)


def _told(
    said: str, status: HTTPStatus, headers: Mapping[str, str], warnings: Sequence[Issue] = ()
) -> Answer:
    note = Issue(Severity.INFORMATION, IssueType.INFORMATIONAL, said)
    return Answer(status, encode_json(operation_outcome([*warnings, note])), headers)
