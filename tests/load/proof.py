"""After the load: everything acknowledged is there, bit by bit, and the queues have run dry."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from tests.load.plan import Plan
from tests.load.studies import Study, Template
from tests.services import loopback

DRAIN_S = 1800.0
POLL_S = 1.0
READERS = 2
PART_10 = {"Accept": 'application/dicom; transfer-syntax="*"'}
DICOM_JSON = {"Accept": "application/dicom+json"}
ACTIVE = ("SCHEDULED", "IN PROGRESS")
STUDY_UID = "0020000D"


class Proof:
    """Asks one of the servers; each method raises AssertionError when something is missing."""

    def __init__(self, plan: Plan, acknowledged: Mapping[int, Sequence[int]]) -> None:
        self._plan = plan
        self._acknowledged = {plan.study(number): indices for number, indices in acknowledged.items()}
        headers = {"Authorization": f"Bearer {plan.token}"}
        self._http = loopback.client(plan.bases[0], headers=headers, timeout=120)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def settle(self) -> None:
        """Say of every study that it is complete: nobody need wait for the quiet time."""
        for study in self._acknowledged:
            self._http.post(f"/admin/api/studies/{study.uid}/settled").raise_for_status()

    def await_drained(self) -> float:
        """Wait until no workitem and no job is open; returns the seconds. Nothing may have failed."""
        begun = time.monotonic()
        while open_work := self._open_work():
            assert time.monotonic() - begun < DRAIN_S, f"still open: {open_work}"
            time.sleep(POLL_S)
        failed = self._jobs("failed")
        assert not failed, f"failed jobs: {failed[:5]}"
        return time.monotonic() - begun

    def compare_bytes(self, template: Template) -> int:
        """Fetch every acknowledged instance and compare it with what was sent; returns how many."""

        def compare(study: Study) -> int:
            for index in self._acknowledged[study]:
                answer = self._http.get(study.instance_path(index), headers=PART_10)
                assert answer.status_code == 200, f"{study.instance_path(index)}: {answer.status_code}"
                assert answer.content == template.instance(study, index), study.instance_path(index)
            return len(self._acknowledged[study])

        with ThreadPoolExecutor(READERS) as pool:
            return sum(pool.map(compare, self._acknowledged))

    def compare_counts(self) -> int:
        """The index holds of each series what was acknowledged, no more and no less; returns how many."""
        for study, indices in self._acknowledged.items():
            found = self._search(f"/dicom-web/studies/{study.uid}/series", {"Modality": "CT"})
            counts = [series["00201209"]["Value"][0] for series in found]
            assert counts == [len(set(indices))], f"{study.uid}: {counts}, but stored {len(set(indices))}"
        return len(self._acknowledged)

    def compare_reports(self) -> int:
        """Every study that was analysed has its one report, the others none; returns how many reports."""
        workitems = self._search("/dicom-web/workitems", {"ProcedureStepState": "COMPLETED"}, limit=1000)
        analysed = {uid for item in workitems if (uid := _referenced_study(item))}
        wanted = {study.uid for study in self._acknowledged if study.is_analysed}
        assert analysed <= wanted, "a study was analysed that no rule wants"
        answer = self._http.get("/fhir/DiagnosticReport", params={"_summary": "count"}).raise_for_status()
        assert answer.json()["total"] == len(analysed), (
            f"{answer.json()['total']} reports, {len(analysed)} studies"
        )
        return len(analysed)

    def _open_work(self) -> str:
        """What is still to be done; empty: nothing."""
        for state in ACTIVE:
            if self._search("/dicom-web/workitems", {"ProcedureStepState": state}, limit=1):
                return f"workitems {state}"
        now = datetime.now(UTC)
        due = [job for job in self._jobs("waiting") if datetime.fromisoformat(job["due"]) <= now]
        return ", ".join(sorted({job["task"] for job in [*due, *self._jobs("running")]}))

    def _jobs(self, state: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = self._http.get("/admin/api/jobs", params={"state": state, "after": after})
            found += page.raise_for_status().json()["jobs"]
            after = page.json()["after"]
        return found

    def _search(self, path: str, criteria: dict[str, str], limit: int = 200) -> list[dict[str, Any]]:
        answer = self._http.get(path, params={**criteria, "limit": str(limit)}, headers=DICOM_JSON)
        answer.raise_for_status()
        return list(answer.json()) if answer.content else []


def _referenced_study(workitem: dict[str, Any]) -> str | None:
    """The study of a workitem's input (PS3.4 CC.2.5.1.3, Input Information Sequence)."""
    inputs = workitem.get("00404021", {}).get("Value", [])
    return inputs[0][STUDY_UID]["Value"][0] if inputs else None
