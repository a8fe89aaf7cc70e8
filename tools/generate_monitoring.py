"""Write k8s/base/monitoring: Grafana's dashboards, and the rules as Kubernetes' PrometheusRule.

    python tools/generate_monitoring.py

A dashboard is panels; a panel is a title, a unit, a query and the labels that tell its lines apart. Every
query is asked of a real Prometheus in tests/e2e/test_monitoring.py, which wants an answer: a share of what
may never happen is written so that it is 0 then, not absent. `$__rate_interval` is Grafana's.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parents[1] / "k8s/base/monitoring"
RATE = "[$__rate_interval]"
REQUESTS, SECONDS = "isthmus_http_requests_total", "isthmus_http_request_duration_seconds"


class Panel(NamedTuple):
    title: str
    unit: str  # Grafana's name for it
    query: str
    by: str = ""


def rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}{RATE}))"


def quantile(q: float, metric: str, by: str, where: str = "") -> str:
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{where}}}{RATE})))"


def p95(title: str, metric: str, by: str = "", where: str = "") -> Panel:
    return Panel(f"{title}, p95", "s", quantile(0.95, metric, by, where), by)


def per_second(title: str, metric: str, by: str, unit: str = "ops") -> Panel:
    return Panel(title, unit, rate(metric, by), by)


def share(title: str, metric: str, bad: str, by: str, where: str = "") -> Panel:
    every = rate(metric, by, where)
    some = rate(metric, by, f"{where}, {bad}" if where else bad)
    return Panel(title, "percentunit", f"({some} or {every} * 0) / {every}", by)


def requests(where: str) -> list[Panel]:
    """The four golden signals of some route groups."""
    slowest = quantile(0.95, SECONDS, "method, route", where)
    return [
        p95("Latency", SECONDS, "group", where),
        Panel("Latency, median", "s", quantile(0.5, SECONDS, "group", where), "group"),
        Panel("Slowest routes, p95", "s", f"topk(5, {slowest})", "method, route"),
        Panel("Traffic", "reqps", rate(REQUESTS, "group", where), "group"),
        share("Errors, share", REQUESTS, 'status=~"5.."', "group", where),
        Panel("Answers by status", "reqps", rate(REQUESTS, "status", where), "status"),
        Panel("Under way", "short", f"sum by (group) (isthmus_http_requests_in_flight{{{where}}})", "group"),
    ]


OVERVIEW = [
    Panel("Ready", "short", "min by (instance) (isthmus_ready)", "instance"),
    Panel("Checks", "short", "min by (check) (isthmus_check_ok)", "check"),
    Panel("Living processes", "short", "sum by (role) (isthmus_processes)", "role"),
    *requests('group!="health"'),
    Panel(
        "Memory, share", "percentunit", "isthmus_memory_used_bytes / isthmus_memory_limit_bytes", "instance"
    ),
    Panel("Resident memory", "bytes", "sum by (role) (isthmus_process_resident_memory_bytes)", "role"),
    per_second("Processors in use", "isthmus_process_cpu_seconds_total", "role", "short"),
    p95("Event loop, how late", "isthmus_event_loop_lag_seconds", "role"),
    Panel(
        "Open files of the process with most", "short", "max by (role) (isthmus_process_open_files)", "role"
    ),
    Panel("Facts that could be read", "short", "min by (of) (isthmus_facts_read)", "of"),
]
ARCHIVE = [
    *requests('group=~"stow|qido|wado|ups"'),
    per_second("Bytes stored and read", "isthmus_object_store_bytes_total", "operation", "Bps"),
    p95("Pixels, decoded or drawn", "isthmus_pixel_task_seconds", "task"),
    per_second("Pixels, tasks", "isthmus_pixel_task_seconds_count", "task, outcome"),
    Panel("Pixels, in work or in line", "short", "sum(isthmus_pixel_tasks)"),
    Panel("Pixels, children at work", "short", "sum(isthmus_pixel_children_busy)"),
    Panel("Pixels, turned away", "ops", f"sum(rate(isthmus_pixel_tasks_turned_away_total{RATE}))"),
    per_second("Pixels, children lost", "isthmus_pixel_children_lost_total", "why"),
    per_second("Pixels, results", "isthmus_pixel_results_total", "found"),
    Panel("Damaged instances", "short", "max(isthmus_objects_damaged)"),
    Panel("Series to be packed", "short", "max(isthmus_series_to_pack)"),
    Panel("Objects to be removed", "short", "max(isthmus_objects_to_remove)"),
    Panel("Oldest deletion whose bytes remain", "s", "max(isthmus_object_deletion_oldest_seconds)"),
    Panel("Last backup, age", "s", "time() - max(isthmus_backup_last_success_timestamp_seconds)"),
]
RECORD = [
    *requests('group=~"fhir-.*|auth|admin"'),
    p95("Audit of reads, until durable", "isthmus_audit_seconds"),
    Panel("Audit not written", "short", f"sum(increase(isthmus_audit_failures_total{RATE}))"),
    Panel("Emergency accesses, not reviewed", "short", "max(isthmus_emergency_accesses_unreviewed)"),
]
AI = [
    Panel("Workitems", "short", "max by (state) (isthmus_workitems)", "state"),
    Panel("Oldest workitem", "s", "max(isthmus_workitem_oldest_waiting_seconds)"),
    per_second("Attempts", "isthmus_predictions_total", "model, version, outcome"),
    share("Failed, share", "isthmus_predictions_total", 'outcome="failed"', "model, version"),
    p95("Stages", "isthmus_prediction_stage_seconds", "model, stage"),
    Panel(
        "Versions beyond their limits",
        "short",
        f"sum(increase(isthmus_model_rollbacks_total{RATE})) or vector(0)",
    ),
    p95("From workitem to report", "isthmus_report_turnaround_seconds", "model, version"),
    Panel("Workers and models", "short", 'sum by (role) (isthmus_processes{role!="server"})', "role"),
    Panel("Jobs", "short", "max by (queue, state) (isthmus_jobs)", "queue, state"),
    Panel("Periodic jobs, overdue", "s", "max by (task) (isthmus_periodic_job_overdue_seconds)", "task"),
    per_second("Job runs", "isthmus_job_runs_total", "task, outcome"),
    p95("Job runs", "isthmus_job_run_seconds", "task"),
    Panel("Oldest job, overdue", "s", "max by (queue) (isthmus_job_oldest_waiting_seconds)", "queue"),
]
STORE = [
    p95("Database", "isthmus_database_seconds", "use"),
    per_second("Database, uses", "isthmus_database_seconds_count", "use"),
    p95("Waiting for a connection", "isthmus_database_wait_seconds", "pool"),
    Panel("Connections", "short", "sum by (pool, state) (isthmus_database_connections)", "pool, state"),
    per_second("Database, refused", "isthmus_database_faults_total", "fault"),
    Panel("Transactions run again", "ops", f"sum(rate(isthmus_database_retries_total{RATE}))"),
    p95("Object store", "isthmus_object_store_seconds", "operation"),
    per_second("Object store, operations", "isthmus_object_store_seconds_count", "operation"),
    per_second("Object store, bytes", "isthmus_object_store_bytes_total", "operation", "Bps"),
    per_second("Object store, faults", "isthmus_object_store_faults_total", "operation, fault"),
    Panel("Free room, share", "percentunit", "isthmus_disk_free_bytes / isthmus_disk_size_bytes", "instance"),
]
DASHBOARDS = {
    "overview": ("overview", OVERVIEW),
    "archive": ("archive", ARCHIVE),
    "record": ("record", RECORD),
    "ai": ("AI and jobs", AI),
    "database-and-store": ("database and store", STORE),
}


def dashboard(name: str, title: str, panels: list[Panel]) -> dict[str, Any]:
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"isthmus-{name}",
        "title": f"Isthmus: {title}",
        "tags": ["isthmus"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source]},
        "panels": [drawn(number, panel) for number, panel in enumerate(panels)],
    }


def drawn(number: int, panel: Panel) -> dict[str, Any]:
    datasource = {"type": "prometheus", "uid": "${datasource}"}
    legend = " ".join(f"{{{{{label}}}}}" for label in panel.by.split(", ")) if panel.by else panel.title
    target = {"refId": "A", "datasource": datasource, "expr": panel.query, "legendFormat": legend}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": datasource,
        "gridPos": {"x": number % 3 * 8, "y": number // 3 * 8, "w": 8, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [target],
    }


def rendered() -> dict[Path, str]:
    """Every generated file with its text."""
    files = {
        FOLDER / "dashboards" / f"{name}.json": json.dumps(dashboard(name, *made), indent=1) + "\n"
        for name, made in DASHBOARDS.items()
    }
    head = "# Made from alerts.yaml by tools/generate_monitoring.py.\napiVersion: monitoring.coreos.com/v1\n"
    head += "kind: PrometheusRule\nmetadata:\n  name: isthmus\nspec:\n  groups:\n"
    rules = (FOLDER / "alerts.yaml").read_text().partition("groups:\n")[2].splitlines(keepends=True)
    files[FOLDER / "prometheus-rule.yaml"] = head + "".join(
        f"  {line}" if line.strip() else line for line in rules
    )
    return files


if __name__ == "__main__":
    for path, text in rendered().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
