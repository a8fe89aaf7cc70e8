"""A Query becomes one SELECT, with the caller's Reach in it (PS3.18 10.6; DESIGN §8).

The order is total, so that pages neither repeat nor skip: what `orderby` says, or else studies from the
newest StudyDate; series and instances by number within the study or series named, from the newest elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    Table,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import Boolean, String

from dicomweb.attributes import Level
from dicomweb.reach import within_reach
from dicomweb.search.conditions import (
    AnyText,
    AnyUid,
    Condition,
    FuzzyName,
    Name,
    Number,
    Range,
    Text,
)
from dicomweb.search.keys import Source
from dicomweb.search.ordering import Ordering
from dicomweb.search.query import Match, Query
from dicomweb.tables import Instance, InstanceMetadata, Series, SeriesRequest, Study, StudyName
from server.kernel.access import Reach
from server.kernel.rows import table_of

STUDY, SERIES, INSTANCE = table_of(Study), table_of(Series), table_of(Instance)
REQUEST, METADATA, STUDY_NAME = table_of(SeriesRequest), table_of(InstanceMetadata), table_of(StudyName)

ANY_SERIES = SERIES.alias("any_series")  # of the study, beside the one that is answered

NAME_GROUPS = ("folded", "ideographic", "phonetic")  # the columns of a PN, in the order of its groups


class Wildcard(FunctionElement[bool]):
    """`column` matches a pattern of `*` and `?`, with case: GLOB on SQLite, LIKE elsewhere.

    Both use an index of the column when the pattern begins with characters; several such conditions joined by
    OR use those of each.
    """

    name = "wildcard"
    type = Boolean()
    inherit_cache = True

    def __init__(self, column: ColumnElement[str], pattern: str) -> None:
        super().__init__(column, bindparam(None, _glob(pattern)), bindparam(None, _like(pattern)))

    def self_group(self, against: OperatorType | None = None) -> "Wildcard":  # noqa: ARG002  the signature
        """Itself: a condition as it stands. `… = 1`, as for other functions, would hide it from indexes."""
        return self


@compiles(Wildcard, "sqlite")
def _compile_glob(element: Wildcard, compiler: SQLCompiler, **kw: Any) -> str:
    column, glob, _ = element.clauses
    return f"{compiler.process(column, **kw)} GLOB {compiler.process(glob, **kw)}"


@compiles(Wildcard)
def _compile_like(element: Wildcard, compiler: SQLCompiler, **kw: Any) -> str:
    column, _, like = element.clauses
    return f"{compiler.process(column, **kw)} LIKE {compiler.process(like, **kw)} ESCAPE '\\'"


class ByteOrder(FunctionElement[str]):
    """ORDER BY a text by its bytes, on PostgreSQL whatever its collation: the same pages everywhere.

    `_prefix_index` is in that order there.
    """

    name = "byte_order"
    type = String()
    inherit_cache = True


class ByteOrderDescending(ByteOrder):
    """The same from the last to the first."""

    name = "byte_order_descending"
    inherit_cache = True


@compiles(ByteOrder, "sqlite")
def _compile_plain_order(element: ByteOrder, compiler: SQLCompiler, **kw: Any) -> str:
    direction = "DESC" if isinstance(element, ByteOrderDescending) else "ASC"
    return f"{compiler.process(element.clauses, **kw)} {direction}"


@compiles(ByteOrder)
def _compile_byte_order(element: ByteOrder, compiler: SQLCompiler, **kw: Any) -> str:
    operator = "~>~" if isinstance(element, ByteOrderDescending) else "~<~"
    return f"{compiler.process(element.clauses, **kw)} USING {operator}"


def _glob(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def _like(pattern: str) -> str:
    for special in "\\%_":
        pattern = pattern.replace(special, f"\\{special}")
    return pattern.replace("*", "%").replace("?", "_")


def match_range(column: ColumnElement[str], condition: Range) -> ColumnElement[bool]:
    """Range Matching, bounds inclusive; what has no date or time lies in no range (PS3.4 C.2.2.2.5)."""
    if condition.low == condition.high:
        return column == condition.low
    if condition.low and condition.high:
        return column.between(condition.low, condition.high)
    return column >= condition.low if condition.low else and_(column <= condition.high, column != "")


def match_text(column: ColumnElement[str], condition: Text) -> ColumnElement[bool]:
    """Single Value or Wild Card Matching (PS3.4 C.2.2.2.1, C.2.2.2.4)."""
    if condition.is_wildcard:
        return cast("ColumnElement[bool]", Wildcard(column, condition.pattern))
    return column == condition.pattern


def match_any_text(column: ColumnElement[str], condition: AnyText) -> ColumnElement[bool]:
    """One of several codes."""
    return or_(*(match_text(column, pattern) for pattern in condition.patterns))


def match_any_uid(column: ColumnElement[str], condition: AnyUid) -> ColumnElement[bool]:
    """List of UID Matching (PS3.4 C.2.2.2.2)."""
    return column == condition.uids[0] if len(condition.uids) == 1 else column.in_(condition.uids)


def match_number(column: ColumnElement[Any], condition: Number) -> ColumnElement[bool]:
    """Single Value Matching of a number."""
    return column == condition.value


MATCHERS: Mapping[type[Condition], Callable[[ColumnElement[Any], Any], ColumnElement[bool]]] = {
    Range: match_range,
    Text: match_text,
    AnyText: match_any_text,
    AnyUid: match_any_uid,
    Number: match_number,
}


def match_name(table: FromClause, stem: str, name: Name) -> ColumnElement[bool]:
    """PN: one group is looked for in all three, several each in its own (PS3.5 6.2.1.1)."""
    columns = [table.c[f"{stem}_{group}"] for group in NAME_GROUPS]
    if len(name.groups) == 1:
        return or_(*(match_text(column, name.groups[0]) for column in columns))
    pairs = zip(columns, name.groups, strict=False)
    return and_(true(), *(match_text(column, group) for column, group in pairs if group.pattern.strip("*")))


def match_fuzzy_name(stem: str, name: FuzzyName) -> ColumnElement[bool]:
    """PN of a study, fuzzily (PS3.18 8.3.4.2): each of both ways finds its studies by its own index."""
    first, *others = (_having_word(stem, word, sound) for word, sound in name.words)
    by_words = first.where(*(first.selected_columns.study_id.in_(other) for other in others))
    literally = select(STUDY.c.id).where(match_name(STUDY, stem, name.literal)).correlate(None)
    return STUDY.c.id.in_(union_all(literally, by_words))


def _having_word(stem: str, word: str, sound: str) -> Select[int]:
    c = STUDY_NAME.alias().c
    is_word = or_(c.sound == sound, match_text(c.word, Text(f"{word}*")))
    return select(c.study_id).where(c.attribute == stem, is_word)


def match_condition(table: FromClause, match: Match) -> ColumnElement[bool]:
    """The condition of one match on its column of `table`."""
    if isinstance(match.condition, FuzzyName):
        return match_fuzzy_name(match.key.column, match.condition)
    if isinstance(match.condition, Name):
        return match_name(table, match.key.column, match.condition)
    return MATCHERS[type(match.condition)](table.c[match.key.column], match.condition)


def select_matches(query: Query, reach: Reach) -> Select[Any]:
    """The rows of the query's level, one more than its limit, with all that their answers need."""
    form = _Form(query.level, query.needs_metadata, query.within_study, query.within_series, query.order)
    statement = _in_order(form).where(within_reach(reach), *_conditions(query.matches))
    return statement.limit(query.limit + 1).offset(query.offset)


def select_metadata_sizes(query: Query, reach: Reach) -> Select[int]:
    """How many bytes of metadata each row of `select_matches` has, in the same order."""
    size = func.length(METADATA.c.dicom_json)
    return select_matches(query, reach).with_only_columns(size, maintain_column_froms=True)


def count_matches(query: Query, reach: Reach) -> Select[int]:
    """How many rows `select_matches` has on all its pages."""
    statement = _select_rows(query.level, needs_metadata=False)
    statement = statement.where(within_reach(reach), *_conditions(query.matches))
    return statement.with_only_columns(func.count(), maintain_column_froms=True)


class _Form(NamedTuple):
    """What a query has in common with many others."""

    level: Level
    needs_metadata: bool
    within_study: bool
    within_series: bool
    order: tuple[Ordering, ...]


@lru_cache(maxsize=256)
def _in_order(form: _Form) -> Select[Any]:
    """All rows in the order of the answer; built once: that costs as much as to execute it."""
    return _select_rows(form.level, needs_metadata=form.needs_metadata).order_by(*_order(form))


def _select_rows(level: Level, *, needs_metadata: bool) -> Select[Any]:
    if level is Level.STUDY:
        return _select_studies()
    return _select_instances(needs_metadata=needs_metadata) if level is Level.INSTANCE else _select_series()


def _select_studies() -> Select[Any]:
    c = STUDY.c
    return select(c.id.label("study_key"), c.study_instance_uid, c.attributes.label("study_attributes"))


def _select_series() -> Select[Any]:
    c = SERIES.c
    return (
        _select_studies()
        .add_columns(c.id.label("series_key"), c.series_instance_uid, c.attributes.label("series_attributes"))
        .join_from(SERIES, STUDY, c.study_id == STUDY.c.id)
        .where(c.superseded_us.is_(None))
    )


def _select_instances(*, needs_metadata: bool) -> Select[Any]:
    c = INSTANCE.c
    statement = (
        select(
            STUDY.c.study_instance_uid,
            STUDY.c.attributes.label("study_attributes"),
            SERIES.c.series_instance_uid,
            SERIES.c.attributes.label("series_attributes"),
            c.sop_instance_uid,
            c.sop_class_uid,
            c.transfer_syntax_uid,
            c.instance_number,
            c.rows.label("image_rows"),
            c.columns.label("image_columns"),
            c.bits_allocated,
            c.number_of_frames,
        )
        .join_from(INSTANCE, SERIES, c.series_id == SERIES.c.id)
        .join(STUDY, c.study_id == STUDY.c.id)
        .where(c.superseded_us.is_(None))
    )
    if needs_metadata:
        overlaid = func.coalesce(STUDY.c.overlaid_us, SERIES.c.overlaid_us).label("overlaid_us")
        statement = statement.add_columns(METADATA.c.dicom_json, overlaid).join(
            METADATA, METADATA.c.instance_id == c.id
        )
    return statement


_TABLES: Mapping[Source, Table] = {
    Source.STUDY: STUDY,
    Source.SERIES: SERIES,
    Source.INSTANCE: INSTANCE,
}


def _conditions(matches: Sequence[Match]) -> list[ColumnElement[bool]]:
    direct = [match_condition(_TABLES[m.key.source], m) for m in matches if m.key.source in _TABLES]
    for_series = _of_source(matches, Source.SERIES_OF_STUDY, ANY_SERIES)
    if for_series:
        # Not IN: SQLite would collect the studies of, say, every CT first.
        c = ANY_SERIES.c
        direct.append(exists().where(c.study_id == STUDY.c.id, c.superseded_us.is_(None), *for_series))
    for_request = _of_source(matches, Source.REQUEST, REQUEST)
    if for_request:
        direct.append(SERIES.c.id.in_(select(REQUEST.c.series_id).where(*for_request)))
    return direct


def _of_source(matches: Sequence[Match], source: Source, table: FromClause) -> list[ColumnElement[bool]]:
    return [match_condition(table, match) for match in matches if match.key.source is source]


def _order(form: _Form) -> tuple[ColumnElement[Any], ...]:
    if form.order:
        return _chosen_order(form)
    if form.level is Level.STUDY:
        return STUDY.c.study_date.desc(), STUDY.c.id.desc()
    if form.level is Level.SERIES:
        return _numbered(SERIES, "series_number") if form.within_study else (SERIES.c.id.desc(),)
    if form.within_series:
        return _numbered(INSTANCE, "instance_number")
    if form.within_study:
        return INSTANCE.c.series_id, *_numbered(INSTANCE, "instance_number")
    return (INSTANCE.c.id.desc(),)


def _chosen_order(form: _Form) -> tuple[ColumnElement[Any], ...]:
    """As the caller says, what has no value below what has one; then by receipt, in the last direction."""
    own_key = {Level.STUDY: STUDY, Level.SERIES: SERIES, Level.INSTANCE: INSTANCE}[form.level].c.id
    last = own_key.desc() if form.order[-1].descending else own_key.asc()
    return *map(_ordered, form.order), last


def _ordered(ordering: Ordering) -> ColumnElement[Any]:
    key = ordering.key
    column = _TABLES[key.source].c[f"{key.column}_folded" if key.vr == "PN" else key.column]
    if key.vr in _TEXT_VRS:
        ordered: ColumnElement[Any] = (ByteOrderDescending if ordering.descending else ByteOrder)(column)
    else:
        ordered = column.desc() if ordering.descending else column.asc()
    if not column.nullable:
        return ordered
    return ordered.nulls_last() if ordering.descending else ordered.nulls_first()


_TEXT_VRS = frozenset({"PN", "LO", "SH", "CS"})  # of the others every collation makes the same order


def _numbered(table: Table, column: str) -> tuple[ColumnElement[Any], ...]:
    """By number, the unnumbered last, and then in the order of receipt."""
    return table.c[column].is_(None), table.c[column], table.c.id
