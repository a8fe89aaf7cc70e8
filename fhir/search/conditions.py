"""A search as a value: conditions, order, includes (FHIR R4 search.html). Parsed by `fhir/search/query.py`.

Each link of a chain carries the `Reach` of whoever searches among the resources that it leads to: no
statement can be built that looks further.
"""

from dataclasses import dataclass, field

from fhir.search.definitions import SearchParameter
from fhir.search.subset import Subset
from server.kernel.access import Reach

DEFAULT_COUNT = 50


@dataclass(frozen=True, slots=True)
class Criterion:
    """One parameter with its values, any of which may match; `missing` asks whether there is any value."""

    parameter: SearchParameter
    modifier: str | None
    values: tuple[str, ...]  # raw: escapes stay
    missing: bool | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """Refers by `parameter` to a `target_type` that fulfils `condition` (search.html#chaining)."""

    parameter: SearchParameter
    target_type: str
    reach: Reach  # of who searches, among resources of the target type
    condition: "Condition"


@dataclass(frozen=True, slots=True)
class Has:
    """Is referred to, by `parameter`, from a resource that fulfils `condition` (search.html#has)."""

    source_type: str
    parameter: SearchParameter
    reach: Reach  # of who searches, among resources of the source type
    condition: "Condition"


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of these holds."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Both:
    """All of these hold."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Unless:
    """This does not hold."""

    condition: "Condition"


@dataclass(frozen=True, slots=True)
class InCompartment:
    """Is in the compartment of one resource: refers to it by one of the parameters, or is it."""

    compartment_type: str
    compartment_id: str
    parameters: tuple[SearchParameter, ...]
    itself: bool


@dataclass(frozen=True, slots=True)
class FullText:
    """Has words in its narrative (`_text`) or anywhere (`_content`); the text as asked."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Near:
    """Is within a distance of one of several positions; the texts as asked."""

    values: tuple[str, ...]


Condition = Near | Criterion | Chain | Has | Either | Both | Unless | InCompartment | FullText


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of `_sort`."""

    parameter: SearchParameter
    descending: bool


@dataclass(frozen=True, slots=True)
class Include:
    """`source_type:code[:target_type]`; `reverse`: `_revinclude`; `iterate`: also from included ones."""

    source_type: str | None  # None: any, of a wildcard
    parameters: tuple[SearchParameter, ...]  # none: any
    target_type: str | None
    reverse: bool
    iterate: bool = False


@dataclass(slots=True)
class SearchQuery:
    """A search of one resource type, or of several with the parameters of every one (`EVERY_RESOURCE`)."""

    resource_type: str
    path: str = ""  # where it is asked for, below the base
    types: tuple[str, ...] | None = None  # `_type`; None: all that may be searched there
    criteria: list[Condition] = field(default_factory=list)
    sort: list[SortKey] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    subset: Subset | None = None  # None: whole resources
    count: int = DEFAULT_COUNT
    only_count: bool = False
    total: bool = False
    page: str | None = None
    understood: list[tuple[str, str]] = field(default_factory=list)  # for the self link
