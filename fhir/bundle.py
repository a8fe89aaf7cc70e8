"""Bundles as bytes: stored texts are joined, never parsed (FHIR R4 bundle.html#searchset)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import orjson
from sqlalchemy.engine import Row as ResultRow

from fhir.interactions.body import unpack
from fhir.model.json_codec import encode_json
from fhir.model.validation.issue import Issue
from fhir.outcome import operation_outcome
from fhir.search.query import PAGE, SearchQuery
from fhir.search.subset import Subset, subset_text
from server.kernel.clock import instant_text


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a searchset: a stored resource and why it is there (`match`, `include`)."""

    type: str
    id: str
    text: bytes
    mode: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a searchset; `total` None: not counted; `next_page` None: the last page."""

    total: int | None = None
    entries: Sequence[Entry] = ()
    next_page: str | None = None
    issues: Sequence[Issue] = field(default=())


@dataclass(frozen=True, slots=True)
class Links:
    """What its links repeat: the URL without parameters, those that were understood, and the page."""

    url: str
    understood: Sequence[tuple[str, str]]
    page: str | None = None


def entry_of(row: ResultRow[Any], mode: str, subset: Subset | None) -> Entry:
    """The entry of a row of the resource table."""
    text = unpack(row.body)
    return Entry(row.type, row.id, subset_text(text, row.type, subset) if subset else text, mode)


def render_searchset(base_url: str, query: SearchQuery, page: Page, now_us: int) -> bytes:
    """The Bundle's JSON text; its self link repeats only what was understood."""
    url = f"{base_url}/{query.path}" if query.path else base_url
    links = Links(url, query.understood, query.page)
    return render_page(base_url, links, page, now_us)


def render_page(base_url: str, links: Links, page: Page, now_us: int) -> bytes:
    """The JSON text of a searchset Bundle, whatever was asked to get it."""
    members = [b'"resourceType":"Bundle"', b'"type":"searchset"']
    members.insert(1, b'"meta":' + orjson.dumps({"lastUpdated": instant_text(now_us)}))
    if page.total is not None:
        members.append(b'"total":%d' % page.total)
    members.append(b'"link":' + orjson.dumps(list(_links(links, page))))
    entries = [_rendered(base_url, entry) for entry in page.entries]
    if page.issues:
        outcome = encode_json(operation_outcome(page.issues))
        entries.append(b'{"resource":' + outcome + b',"search":{"mode":"outcome"}}')
    if entries:
        members.append(b'"entry":[' + b",".join(entries) + b"]")
    return b"{" + b",".join(members) + b"}"


def _links(links: Links, page: Page) -> Iterator[dict[str, str]]:
    here = [] if links.page is None else [(PAGE, links.page)]
    yield {"relation": "self", "url": _with(links.url, [*links.understood, *here])}
    if here or page.next_page is not None:
        yield {"relation": "first", "url": _with(links.url, links.understood)}
    if page.next_page is not None:
        yield {"relation": "next", "url": _with(links.url, [*links.understood, (PAGE, page.next_page)])}


def _with(url: str, pairs: Sequence[tuple[str, str]]) -> str:
    return f"{url}?{urlencode(pairs, safe=':,|/$*')}" if pairs else url


def _rendered(base_url: str, entry: Entry) -> bytes:
    full_url = orjson.dumps(f"{base_url}/{entry.type}/{entry.id}")
    return b'{"fullUrl":%b,"resource":%b,"search":{"mode":"%b"}}' % (
        full_url,
        entry.text,
        entry.mode.encode(),
    )
