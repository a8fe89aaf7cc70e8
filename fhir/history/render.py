"""A history as a Bundle: stored texts are joined, never parsed (FHIR R4 bundle.html#history)."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import orjson
from sqlalchemy.engine import Row as ResultRow

from fhir.history.query import HistoryQuery
from fhir.interactions.body import unpack
from fhir.search.query import PAGE
from server.kernel.clock import instant_text

Rows = Sequence[ResultRow[Any]]


def render_history(
    base_url: str, query: HistoryQuery, rows: Rows, next_page: str | None, at_us: int
) -> bytes:
    """The Bundle's JSON text; `at_us` is the time up to which it is complete."""
    members = [
        b'"resourceType":"Bundle"',
        b'"meta":' + orjson.dumps({"lastUpdated": instant_text(at_us)}),
        b'"type":"history"',
    ]
    if query.page is None and next_page is None:
        members.append(b'"total":%d' % len(rows))
    members.append(b'"link":' + orjson.dumps(list(_links(base_url, query, next_page))))
    if rows:
        members.append(b'"entry":[' + b",".join(_entry(base_url, row) for row in rows) + b"]")
    return b"{" + b",".join(members) + b"}"


def _links(base_url: str, query: HistoryQuery, next_page: str | None) -> Iterator[dict[str, str]]:
    for relation, page in (("self", query.page), ("next", next_page)):
        if page is not None or relation == "self":
            pairs = [*query.understood, *([] if page is None else [(PAGE, page)])]
            url = f"{base_url}/{query.path}"
            yield {"relation": relation, "url": f"{url}?{urlencode(pairs, safe=':')}" if pairs else url}


def _entry(base_url: str, row: ResultRow[Any]) -> bytes:
    place = f"{row.type}/{row.id}"
    first = row.version_id == 1
    if row.deleted:
        method, url, status = "DELETE", place, HTTPStatus.NO_CONTENT
    elif first:
        method, url, status = "POST", row.type, HTTPStatus.CREATED
    else:
        method, url, status = "PUT", place, HTTPStatus.OK
    members = [b'"fullUrl":' + orjson.dumps(f"{base_url}/{place}")]
    if not row.deleted:
        members.append(b'"resource":' + unpack(row.body))
    members.append(b'"request":' + orjson.dumps({"method": method, "url": url}))
    response = {
        "status": f"{status.value} {status.phrase}",
        "etag": f'W/"{row.version_id}"',
        "lastModified": instant_text(row.last_updated_us),
    }
    members.append(b'"response":' + orjson.dumps(response))
    return b"{" + b",".join(members) + b"}"
