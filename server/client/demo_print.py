"""How the demo tells what came back."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from server.client.demo_results import FoundInstance, Report, Workitem


def heading(console: Console, text: str) -> None:
    """A line that begins a part."""
    console.print(Text(f"\n{text}", style="bold"))


def line(console: Console, text: str, style: str = "") -> None:
    """A plain line; nothing in it is markup."""
    console.print(Text(text, style=style), soft_wrap=True)


def tell_workitem(console: Console, workitem: Workitem, states: Sequence[str]) -> None:
    """One workitem with the states it went through; a refusal with its reason."""
    style = "green" if workitem.state == "COMPLETED" else "yellow"
    line(console, f"  {workitem.label or 'workitem'}  {' → '.join(states)}", style)
    line(console, f"  {workitem.uid}", "dim")
    if workitem.state == "CANCELED":
        reason = workitem.reason or "no reason was stated"
        console.print(
            Panel(Text(reason), title="The analysis was canceled", border_style="yellow", expand=False)
        )


def tell_instances(console: Console, instances: Iterable[FoundInstance]) -> None:
    """SEG and SR instances in the study."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for column in ("modality", "SOP Instance UID", "series"):
        table.add_column(column, style="bold" if column == "modality" else "", overflow="fold")
    for instance in instances:
        table.add_row(instance.modality, instance.sop_instance_uid, instance.description)
    console.print(table)


def tell_report(console: Console, report: Report) -> None:
    """The report's conclusion, and its measurements."""
    title = f"DiagnosticReport/{report.id} ({report.status})"
    conclusion = Text(report.conclusion or "no conclusion")
    console.print(Panel(conclusion, title=Text(title), border_style="green", expand=False))
    if not report.measured:
        return
    table = Table(title=f"{report.observations} Observations", title_justify="left")
    table.add_column("measurement")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("where")
    for measured in report.measured:
        table.add_row(
            *(Text(cell) for cell in (measured.name, measured.value, measured.unit, measured.where))
        )
    console.print(table)


def tell_links(
    console: Console, base: str, study_instance_uid: str, reports: Sequence[Report], token: str
) -> None:
    """Where to go on by hand."""
    line(console, f"  study     {base}/dicom-web/studies/{study_instance_uid}/series")
    line(console, f"  worklist  {base}/dicom-web/workitems?StudyInstanceUID={study_instance_uid}")
    for report in reports:
        line(console, f"  report    {base}/fhir/DiagnosticReport/{report.id}")
    line(console, f"  API       {base}/docs")
    line(console, f"  token     {token}")
    path = f"/fhir/DiagnosticReport/{reports[0].id}" if reports else "/dicom-web/studies"
    line(console, f'  try       curl -H "Authorization: Bearer {token}" {base}{path}', "dim")
