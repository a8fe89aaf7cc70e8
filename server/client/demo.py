"""`isthmus demo`: a study goes in by STOW-RS, findings come out by QIDO-RS and FHIR search."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from pydicom import Dataset
from pydicom.dataset import validate_file_meta
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from server.client import demo_print as say
from server.client.demo_results import (
    Report,
    Workitem,
    describe_instances,
    find_reports,
    follow_workitems,
)
from server.client.demo_server import DemoServer, issue_token, running_server
from server.client.demo_study import DemoStudy, completed_study
from server.client.store_response import Outcome, read_outcome
from server.kernel.faults import Fault, FaultKind

BATCH = 20  # instances in one Store request
REQUEST_BYTES = 1 << 30  # no Store request of the demo is larger
APPEAR_S = 30.0  # until the first workitem of a study is there, once it is stored
END_S = 600.0  # until the analysis has ended
PROJECTION_S = 15.0  # until FHIR knows the study

VIEWER = "/ui/viewer/"
VIEWER_SCOPES = "system/ImagingStudy.rs"
VIEWER_TTL_S = 8 * 3600  # a day's work

FINDINGS, FAILED, NO_FINDINGS = (
    0,
    1,
    2,
)  # exit codes: 2 when no model made findings, for a reason that is told
INTERRUPTED = 130


class DemoNotInstalled(Fault):
    """What the demo needs is not installed."""


class StudyRefused(Fault):
    """The server refused the demo's study; the message names each attribute."""

    kind = FaultKind.UNPROCESSABLE


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the user asked for."""

    study: Path | None = None  # None: the generated chest
    keep: bool = False
    data: Path | None = None  # None: a folder that is removed afterwards
    port: int = 0  # 0: any free one
    viewer: Path | None = None  # the folder of the web viewer; None: the data folder's


@dataclass(frozen=True, slots=True)
class Visit:
    """The demo's connections to its server."""

    http: httpx.Client
    dicom: Any  # dicomweb_client.DICOMwebClient, which is untyped
    console: Console


def run_demo(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demo; returns the exit code. The server it starts is stopped, whatever happens."""
    console = console or Console()
    started = time.monotonic()
    try:
        study = choose_study(options, console)
        say.heading(console, "Starting a server (SQLite, local disk, one worker, login on)")
        with running_server(options.data, options.port, options.viewer) as server:
            code = visit_server(server, study, console)
            say.line(console, f"\nDone in {time.monotonic() - started:.0f} s.", "bold")
            if options.keep:
                _stay(server, console)
            else:
                say.line(
                    console, "The server stops now; `isthmus demo --keep` leaves it running for you.", "dim"
                )
    except Fault as fault:
        say.line(console, f"\n{fault}", "red")
        return FAILED
    except KeyboardInterrupt:
        say.line(console, "\nInterrupted; the server is stopped.")
        return INTERRUPTED
    return code


def choose_study(options: DemoOptions, console: Console) -> DemoStudy:
    """The study to send, with a word on what was done to it."""
    study = completed_study(options.study) if options.study else _phantom()
    say.heading(console, f"Study: {study.title}")
    for note in study.notes:
        say.line(console, f"  {note}", "dim")
    return study


def visit_server(server: DemoServer, study: DemoStudy, console: Console) -> int:
    """Store, wait, show; returns the exit code."""
    token = issue_token(server)
    say.line(console, f"  {server.base}  data in {server.data}", "dim")
    headers = {"Authorization": f"Bearer {token}"}
    with (
        httpx.Client(base_url=server.base, headers=headers, trust_env=False, timeout=60) as http,
        _dicomweb_client(server.base, headers) as dicom,
    ):
        visit = Visit(http, dicom, console)
        store_study(visit, study)
        workitems = watch_analysis(visit, study)
        reports = show_results(visit, study, workitems)
        has_viewer = http.get(VIEWER).status_code == HTTPStatus.OK
    say.heading(console, "Go on by hand")
    say.tell_links(console, server.base, study.study_instance_uid, reports, token)
    say.tell_viewer(console, viewer_link(server, study.study_instance_uid), installed=has_viewer)
    return FINDINGS if reports else NO_FINDINGS


def viewer_link(server: DemoServer, study_instance_uid: str) -> str:
    """The study in the web viewer, with a token that only reads images.

    It stands in the fragment, which a browser sends to no server: no log and no proxy sees it.
    """
    token = issue_token(server, VIEWER_SCOPES, VIEWER_TTL_S)
    return f"{server.base}{VIEWER}viewer?StudyInstanceUIDs={study_instance_uid}#token={token}"


def store_study(visit: Visit, study: DemoStudy) -> None:
    """Send the study by STOW-RS.

    Raises:
        StudyRefused: the server refused an instance.
    """
    say.heading(visit.console, "Storing by STOW-RS (dicomweb-client)")
    started = time.monotonic()
    with _progress(visit.console) as bar:
        task = bar.add_task("  storing", total=study.count)
        for batch in _batches(study.instances()):
            _check(_store(visit.dicom, batch))
            bar.advance(task, len(batch))
    say.line(visit.console, f"  {study.count} instances stored in {time.monotonic() - started:.1f} s")


def watch_analysis(visit: Visit, study: DemoStudy) -> Sequence[Workitem]:
    """Wait until the study's workitems have ended, and tell the states they went through."""
    say.heading(visit.console, "Analysing (UPS-RS)")
    states: dict[str, list[str]] = {}
    workitems: Sequence[Workitem] = ()
    started = time.monotonic()
    with _progress(visit.console) as bar:
        task = bar.add_task("  waiting until the study is settled", total=100)
        for workitems in follow_workitems(
            visit.http, study.study_instance_uid, appear_s=APPEAR_S, end_s=END_S
        ):
            for workitem in workitems:
                seen = states.setdefault(workitem.uid, [])
                if not seen or seen[-1] != workitem.state:
                    seen.append(workitem.state)
                    say.line(visit.console, f"  {time.monotonic() - started:5.1f} s  {workitem.state}")
                doing = workitem.description or workitem.label
                bar.update(task, description=f"  {workitem.state}  {doing}", completed=workitem.progress)
    if not workitems:
        say.line(
            visit.console, "  No model wants this study: no routing rule selects a series of it.", "yellow"
        )
    for workitem in workitems:
        say.tell_workitem(visit.console, workitem, states[workitem.uid])
    return workitems


def show_results(visit: Visit, study: DemoStudy, workitems: Sequence[Workitem]) -> list[Report]:
    """Show what a PACS finds by QIDO-RS and what an EHR finds by FHIR search; returns the reports."""
    if not any(workitem.state == "COMPLETED" for workitem in workitems):
        say.line(visit.console, "  The stored images stay as they are; there are no findings to show.")
        return []
    say.heading(visit.console, "In the archive (QIDO-RS): beside the images of the study")
    rows = [
        row
        for modality in ("SEG", "SR")
        for row in visit.dicom.search_for_instances(
            study.study_instance_uid,
            fields=["SeriesDescription"],
            search_filters={"Modality": modality},
        )
    ]
    say.tell_instances(visit.console, describe_instances(rows))
    say.heading(visit.console, "In the record (FHIR R4 search)")
    reports = find_reports(visit.http, study.study_instance_uid, wait_s=PROJECTION_S)
    for report in reports:
        say.tell_report(visit.console, report)
    return reports


def _phantom() -> DemoStudy:
    """The generated chest; it is being generated while the server starts."""
    try:
        from ai_engine.phantom.chest import PhantomSpec, make_phantom
        from ai_engine.phantom.datasets import PhantomStudy, datasets_of
    except ImportError as error:
        raise DemoNotInstalled("The generated chest needs more: pip install 'isthmus[demo]'") from error
    names, spec = PhantomStudy(), PhantomSpec()
    background = ThreadPoolExecutor(1, thread_name_prefix="phantom")
    phantom = background.submit(make_phantom, spec, names.uid("frame-of-reference"))
    background.shutdown(wait=False)
    return DemoStudy(
        f"a generated chest CT, {spec.slices} slices, made of formulas (no patient)",
        names.uid("study"),
        spec.slices,
        lambda: datasets_of(phantom.result(), names),
    )


@contextmanager
def _dicomweb_client(base: str, headers: dict[str, str]) -> Iterator[Any]:
    try:
        from dicomweb_client import DICOMwebClient
        from dicomweb_client.session_utils import create_session
    except ImportError as error:
        raise DemoNotInstalled("The demo needs dicomweb-client: pip install 'isthmus[demo]'") from error
    with create_session() as session:
        session.trust_env = False  # no proxy stands before this machine's own server
        # In one piece: a request sent in chunks is repeated by this client without its body.
        yield DICOMwebClient(f"{base}/dicom-web", session=session, headers=headers, chunk_size=REQUEST_BYTES)


def _store(dicom: Any, batch: Sequence[Dataset]) -> Outcome:
    """Send one batch; a refusal is read from the answer's body, which comes with an HTTP error."""
    try:
        return read_outcome(dicom.store_instances(batch).to_json_dict())
    except OSError as error:  # requests' exceptions are OSErrors
        answer = getattr(error, "response", None)
        if answer is None:
            raise StudyRefused(f"The server cannot be reached ({type(error).__name__}).") from error
        if answer.status_code != 409:
            raise StudyRefused(f"The server answered {answer.status_code}: {answer.text[:300]}") from error
        return read_outcome(answer.json())


def _check(outcome: Outcome) -> None:
    if outcome.refused:
        reasons = dict.fromkeys(refusal.reason for refusal in outcome.refused)
        raise StudyRefused("The server refused instances of the study:\n  " + "\n  ".join(reasons))


def _batches(instances: Iterator[Dataset]) -> Iterator[list[Dataset]]:
    batch: list[Dataset] = []
    for instance in instances:
        batch.append(with_file_meta(instance))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def with_file_meta(instance: Dataset) -> Dataset:
    """The instance with a complete head (PS3.10 §7.1); dicomweb-client writes only what is there."""
    instance.preamble = getattr(instance, "preamble", None) or b"\x00" * 128
    validate_file_meta(instance.file_meta, enforce_standard=True)
    instance.file_meta.FileMetaInformationGroupLength = 0  # pydicom computes it where it is present
    return instance


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _stay(server: DemoServer, console: Console) -> None:
    """Wait until the user has seen enough, or the server has ended by itself."""
    say.line(console, f"The server stays up at {server.base}; Ctrl-C stops it.", "bold")
    try:
        server.process.wait()
    except KeyboardInterrupt:
        say.line(console, "\nStopping the server.")
