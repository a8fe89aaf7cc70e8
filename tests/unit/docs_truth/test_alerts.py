"""Rules, their tests, the dashboards, the code and the runbooks tell of the same things."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "k8s/base/monitoring"
PARTS = ("**Why**", "**Look**", "**Do**", "**Over**")


def rules(path: Path = MONITORING / "alerts.yaml") -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


@pytest.fixture(scope="module")
def cases() -> dict[str, list[bool]]:
    """Alert → of each of its cases, whether it fires."""
    found: dict[str, list[bool]] = {}
    for test in yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]:
        for case in test["alert_rule_test"]:
            found.setdefault(case["alertname"], []).append(bool(case["exp_alerts"]))
    return found


@pytest.fixture(scope="module")
def runbooks() -> dict[str, str]:
    """Heading → text of the runbooks."""
    text = (ROOT / "docs/operations.md").read_text().partition("## 10. Alerts")[2]
    parts = re.split(r"^### (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def run_promtool(*words: str | Path) -> None:
    done = subprocess.run(["promtool", *words], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_reads_the_rules() -> None:
    run_promtool("check", "rules", "alerts.yaml")


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_promtool_finds_the_cases_met(every: int, tmp_path: Path) -> None:
    """promtool makes a database for each case, and evaluates every rule for every minute of it."""
    cases = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())
    cases["rule_files"] = [str(MONITORING / name) for name in cases["rule_files"]]
    cases["tests"] = cases["tests"][::every]
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases))
    run_promtool("test", "rules", tmp_path / "cases.yaml")


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_alert_has_a_case_that_fires_and_one_that_must_not(alert: str, cases: dict[str, list[bool]]) -> None:
    assert {True, False} == set(cases.get(alert, []))


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_alert_has_a_runbook_that_says_it_all(rule: dict[str, Any], runbooks: dict[str, str]) -> None:
    text = runbooks[rule["alert"]]
    missing = [part for part in PARTS if part not in text and part.lower() not in text]
    assert missing == []
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_no_runbook_is_of_an_alert_that_is_not_there(runbooks: dict[str, str]) -> None:
    assert set(runbooks) == {rule["alert"] for rule in ALERTS}


def test_metrics_in_use_are_documented(reference: dict[str, str]) -> None:
    queries = "".join(str(rule["expr"]) for rule in rules())
    queries += "".join(path.read_text() for path in MONITORING.glob("dashboards/*.json"))
    used = {re.sub("_(bucket|count|sum)$", "", name) for name in re.findall(r"\bisthmus_\w+", queries)}
    told = set(re.findall(r"^\| `(isthmus_\w+)` \|", reference["operations.md"], re.MULTILINE))
    assert len(used) > 20
    assert used - told == set()


def test_generated_files_are_those_of_the_tool() -> None:
    script = (
        "import json, runpy\n"
        "made = runpy.run_path('tools/generate_monitoring.py')['rendered']()\n"
        "print(json.dumps({str(path): text for path, text in made.items()}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    made = {Path(path): text for path, text in json.loads(done.stdout).items()}
    assert set(made) == {*MONITORING.glob("dashboards/*.json"), MONITORING / "prometheus-rule.yaml"}
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name}: run tools/generate_monitoring.py"


def test_rules_of_the_operator_are_the_same() -> None:
    wrapped = yaml.safe_load((MONITORING / "prometheus-rule.yaml").read_text())
    assert wrapped["kind"] == "PrometheusRule"
    assert wrapped["spec"] == yaml.safe_load((MONITORING / "alerts.yaml").read_text())
