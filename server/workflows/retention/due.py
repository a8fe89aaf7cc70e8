"""Which studies the rules want gone, as SQL over the study table.

A study is due by a rule when the rule is for it and it is old enough for *every* rule that is: the longest
wins, and a rule that is only tried (`dry_run`) still keeps. What is held, or being analysed, is not due.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select, true

from dicomweb.delete.holds import is_held
from dicomweb.tables import Series, Study
from dicomweb.worklist.tables import Workitem
from dicomweb.worklist.withdraw import OPEN_STATES
from server.kernel.clock import SECOND_US
from server.kernel.retention_policy import RetentionRule
from server.kernel.rows import table_of

DAY_US = 86_400 * SECOND_US

_STUDY, _SERIES, _WORKITEM = table_of(Study), table_of(Series), table_of(Workitem)


def select_due(rule: RetentionRule, rules: Sequence[RetentionRule], now_us: int, limit: int) -> Select[Any]:
    """The first studies that are due by `rule`, one of `rules`, the oldest first."""
    c = _STUDY.c
    age = (c.created_us,) if rule.counted_from == "receipt" else (c.study_date, c.id)
    others = [or_(~_is_for(other), _is_old_enough(other, now_us)) for other in rules if other != rule]
    return (
        select(c.study_instance_uid, c.study_date, c.created_us)
        .where(_is_old_enough(rule, now_us), _is_for(rule), *others, ~is_held(), ~_is_being_analysed())
        .order_by(*age)
        .limit(limit)
    )


def _is_for(rule: RetentionRule) -> ColumnElement[bool]:
    if rule.modality is None:
        return true()
    return exists().where(_SERIES.c.study_id == _STUDY.c.id, _SERIES.c.modality == rule.modality)


def _is_old_enough(rule: RetentionRule, now_us: int) -> ColumnElement[bool]:
    """Whether the study has its age; a day counts as past when it is over everywhere (UTC-12)."""
    c = _STUDY.c
    if rule.counted_from == "receipt":
        return c.created_us <= now_us - rule.min_age_days * DAY_US
    now = datetime.fromtimestamp(now_us / SECOND_US, UTC)
    last = now - timedelta(hours=12, days=rule.min_age_days + 1)
    return and_(c.study_date != "", c.study_date <= f"{last:%Y%m%d}")


def _is_being_analysed() -> ColumnElement[bool]:
    w = _WORKITEM.c
    return exists().where(w.study_instance_uid == _STUDY.c.study_instance_uid, w.state.in_(OPEN_STATES))
