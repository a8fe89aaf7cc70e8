"""An archive with studies of any age."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from dicomweb.tables import Study
from server.kernel.clock import now_us
from server.kernel.retention_policy import RetentionPolicy, RetentionRule
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.retention.due import DAY_US
from tests.conformance.ps3_18.kit import ct_file, place, uid
from tests.unit.deletion.conftest import Archive

_STUDY = table_of(Study)


class Aging(Archive):
    """Stores studies that were received long ago."""

    async def receive(self, study: int, days_ago: float, *modalities: str, **attributes: Any) -> str:
        """A study with a series of each modality, received so many days ago; returns its UID."""
        for series, modality in enumerate(modalities or ("CT",), 1):
            where = place(study=study, series=series)
            (result,) = await self.stow(ct_file(where, Modality=modality, **attributes))
            assert result.refusal is None
        aged = update(_STUDY).where(_STUDY.c.study_instance_uid == uid(study))
        received_us = now_us() - int(days_ago * DAY_US)
        await self.services.database.transact(lambda unit: unit.execute(aged.values(created_us=received_us)))
        return uid(study)

    async def left(self) -> set[str]:
        """The UIDs of the studies that are there."""
        return {row.study_instance_uid for row in await self.rows(Study)}

    def under(self, *rules: RetentionRule, **policy: Any) -> Services:
        """The services with these rules."""
        return replace(self.services, retention=RetentionPolicy(rules, **policy))

    async def audited(self, rows: Sequence[Any], interaction: str) -> list[tuple[str, int]]:
        """Principal and occurrences of each entry of a kind."""
        return [(row.principal, row.occurrences) for row in rows if row.interaction == interaction]


@pytest.fixture
def archive(services: Services) -> Aging:
    """An empty archive."""
    return Aging(services)
