"""Which module indexes and asks which type of search parameter."""

from collections.abc import Mapping

from fhir.search.date import DATE
from fhir.search.definitions import SearchType
from fhir.search.full_text import TEXT
from fhir.search.number import NUMBER
from fhir.search.quantity import QUANTITY
from fhir.search.reference import REFERENCE
from fhir.search.string import STRING
from fhir.search.token import TOKEN
from fhir.search.uri import URI
from fhir.search.value import Kind

# A composite has no values of its own: its components are of these kinds (`fhir/search/composite.py`).
KINDS: Mapping[SearchType, Kind] = {
    SearchType.NUMBER: NUMBER,
    SearchType.DATE: DATE,
    SearchType.STRING: STRING,
    SearchType.TOKEN: TOKEN,
    SearchType.REFERENCE: REFERENCE,
    SearchType.QUANTITY: QUANTITY,
    SearchType.URI: URI,
}
TABLES = (*dict.fromkeys(kind.table for kind in KINDS.values()), TEXT)  # all that a resource is found by
