"""How the demo tells what came back."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from server.client.demo_results import FoundInstance, Measured, Report, Workitem


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
    for instance in instances:
        line(console, f"  {instance.modality:<4} {instance.sop_instance_uid}")
        line(console, f"       {instance.description}", "dim")


def tell_report(console: Console, report: Report) -> None:
    """The report's conclusion, its measurements, and what could not be measured."""
    title = Text(f"DiagnosticReport/{report.id} ({report.status})")
    conclusion = Text(report.conclusion or "no conclusion")
    console.print(Panel(conclusion, title=title, border_style="green", expand=False))
    line(console, f"  {report.observations} Observations")
    if report.measured:
        console.print(_measurements(report.measured))
    for reason, names in report.not_measured.items():
        line(console, f"  not measured ({reason}):", "yellow")
        line(console, f"    {', '.join(names)}", "dim")


def _measurements(measured: Iterable[Measured]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("measurement")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for each in measured:
        where = f" ({each.where})" if each.where and each.where != each.name else ""
        name = f"{each.name}{where}" if each.is_group else f"  {each.name}"
        table.add_row(
            *(Text(cell, "bold" if each.is_group else "") for cell in (name, each.value, each.unit))
        )
    return table


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


def tell_viewer(console: Console, link: str, *, installed: bool) -> None:
    """Where the images can be looked at, and how that becomes possible."""
    line(console, f"  viewer    {link}")
    if not installed:
        line(console, "            once it is installed: isthmus viewer install (48 MB)", "dim")
