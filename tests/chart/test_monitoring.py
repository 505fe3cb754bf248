"""Alerts and dashboard: every alert is seen to fire and to keep quiet, every name is one that we export."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chart_series import DASHBOARD, MADE_BY_PROMETHEUS, SELECTED, panels
from helm_chart import MONITORING, ROOT, Object, kind, promtool, render
from longshore.job.status import Outcome
from longshore.store.kubernetes.measures import Measures
from longshore_operator import gauges
from longshore_operator.attempts_client import AttemptsClient
from longshore_operator.desk import Desk
from longshore_operator.metrics import OperatorMetrics, QueueLine, Snapshot
from longshore_operator.scaling.decide import Capacity, Demand, History, decide
from longshore_operator.scaling.metrics import PoolMetrics
from longshore_operator.scaling.pool import pool
from longshore_operator.scaling.state import State
from longshore_operator.scaling.victims import Victims
from service import Service
from trusted import NO_TOKENS, TRUST

CASES = Path(__file__).parent / "alerts.yaml"
RUNBOOKS = ROOT / "docs/runbooks"
PAGES = [
    ROOT / "docs/observability.md",
    ROOT / "docs/operator.md",
    ROOT / "docs/scaling.md",
    *sorted(RUNBOOKS.glob("*.md")),
]
NO_SERIES = {"longshore_samples"}  # a package


def scaled_pool() -> State:
    """A pool about which something has been decided."""
    template = {"spec": {"containers": []}}
    made = pool({"metadata": {"namespace": "demo", "name": "p", "uid": "u", "labels": {"longshore.dev/pool": "p"},
                              "annotations": {"longshore.dev/max-workers": "3"}}, "spec": {"template": template}}, TRUST)  # fmt: skip
    state = State(made, Victims(AttemptsClient(NO_TOKENS), lambda *_, **__: None))
    assert made.knobs is not None
    state.decision, state.history = decide(made.knobs, Demand(), Capacity(1, 1), History.begin(1, 0.0), 0.0)
    return state


def rule(**more: object) -> Object:
    values = {"metrics": {"prometheusRule": {"enabled": True, **more}}}
    return kind(render(values, apis=MONITORING), "PrometheusRule")["ls-rules"]["spec"]  # type: ignore[no-any-return]


def alerts(spec: Object) -> dict[str, Object]:
    return {one["alert"]: one for group in spec["groups"] for one in group["rules"]}


@pytest.fixture(scope="module")
def exported(shared_service: Service) -> set[str]:
    """Names of all series on the /metrics of a service that ran a job, and of an operator that has something to tell."""
    shared_service.request("POST", "/v1/jobs", {"handler": "echo"}, headers={"Prefer": "wait=10"})
    operator = OperatorMetrics(lambda: Snapshot(
        queues=[QueueLine("demo", "default", 1, 1)], workers=dict.fromkeys(gauges.STATES, 1),
        slots={"free": 1, "busy": 1}, desk=gauges.sizes(Desk()), watch_age_seconds={"jobs": 1}))  # fmt: skip
    operator.api_request("get", "200")
    PoolMetrics(operator.registry, lambda: [scaled_pool()], lambda: 0.0)
    scraped = shared_service.request("GET", "/metrics").body.decode() + operator.render().decode()
    scraped += generate_latest(Measures().registry).decode()
    families = list(text_string_to_metric_families(scraped))
    samples = {sample.name for family in families for sample in family.samples}
    # A counter with labels has no sample before it counts.
    return samples | {f"{family.name}_total" for family in families if family.type == "counter"}


def expressions() -> Iterator[str]:
    for one in alerts(rule()).values():
        yield one["expr"]
    yield from panels()


def test_every_series_that_is_asked_for_is_exported(exported: set[str]) -> None:
    asked = {name for text in expressions() for name in SELECTED.findall(text)}

    assert len(asked) > 10
    assert set() == asked - exported - MADE_BY_PROMETHEUS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_series_that_a_page_names_is_exported(exported: set[str], page: Path) -> None:
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in exported}
    named = set(re.findall(r"\b(?:longshore|flask)_[a-z_]+[a-z]\b", page.read_text())) - NO_SERIES

    assert set() == named - exported - families


def test_every_value_of_a_label_that_is_asked_for_is_one_of_ours() -> None:
    known = {
        "outcome": {outcome.value for outcome in Outcome}, "kind": set(gauges.sizes(Desk())),
        "state": {*gauges.STATES, "free", "busy"},
    }  # fmt: skip
    for text in expressions():
        for label, words in re.findall(r'\b(outcome|kind|state)=~?"([^"]+)"', text):
            assert set(words.split("|")) <= known[label], text


# -- alerts --------------------------------------------------------------------------------------------------


def test_the_rules_are_well_formed(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule()))
    done = promtool("check", "rules", "--lint-fatal", tmp_path / "rules.yaml")

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_fires_and_keeps_quiet_as_its_cases_say(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule()))
    (tmp_path / "alerts.yaml").write_text(CASES.read_text())
    done = promtool("test", "rules", tmp_path / "alerts.yaml")

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires, quiet = set(), set()
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for look in case["alert_rule_test"]:
            (fires if look.get("exp_alerts") else quiet).add(look["alertname"])

    assert set(alerts(rule())) == fires == quiet


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    found = alerts(rule(runbookUrl="https://example.com/runbooks/"))

    assert set(found) == {path.stem for path in RUNBOOKS.glob("Longshore*.md")}
    # The others are parts of these.
    text = "".join(path.read_text() for path in RUNBOOKS.glob("Longshore*.md"))
    assert [] == [
        path.name for path in RUNBOOKS.glob("*.md") if path.stem not in found and f"({path.name})" not in text
    ]
    for name, one in found.items():
        assert f"https://example.com/runbooks/{name}.md" == one["annotations"]["runbook_url"]
        assert {"summary", "description", "runbook_url"} == set(one["annotations"])
        assert one["labels"]["severity"] in ("critical", "warning", "info")


def test_alerts_can_be_left_out_labelled_and_set() -> None:
    found = alerts(rule(disabled=["LongshoreDeadLetters"], alertLabels={"team": "harbour"},
                        thresholds={"queueAgeSeconds": 42}))  # fmt: skip

    assert "LongshoreDeadLetters" not in found
    assert {"harbour"} == {one["labels"]["team"] for one in found.values()}
    assert found["LongshoreQueueOld"]["expr"].endswith("> 42")


def test_alerts_of_what_is_not_installed_are_left_out() -> None:
    values = {"api": {"enabled": False}, "metrics": {"prometheusRule": {"enabled": True}}}
    found = alerts(kind(render(values, apis=MONITORING), "PrometheusRule")["ls-rules"]["spec"])

    assert not [name for name in found if name.startswith("LongshoreApiD")]
    assert "LongshoreOperatorDown" in found


@pytest.mark.parametrize("which", ["serviceMonitor", "podMonitor"])
def test_the_rules_ask_for_the_jobs_that_the_monitors_make(which: str) -> None:
    objects = render({"metrics": {which: {"enabled": True}}}, apis=MONITORING)
    monitor = which[0].upper() + which[1:]
    ours = re.compile(re.findall(r'job=~"([^"]+)"', alerts(rule())["LongshoreOperatorDown"]["expr"])[0])
    if which == "serviceMonitor":
        # Prometheus calls the job after the Service.
        jobs = {name for name, one in kind(objects, "Service").items()
                if one["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"}  # fmt: skip
    else:
        jobs = {f"demo/{name}" for name in kind(objects, monitor) if name.endswith("-operator")}

    assert {"ls-operator", "ls-api", "ls-workers"} == set(kind(objects, monitor))
    assert 1 == len(jobs)
    assert all(ours.fullmatch(job) for job in jobs)


def test_a_monitor_finds_its_service_and_its_port() -> None:
    objects = render({"metrics": {"serviceMonitor": {"enabled": True}}}, apis=MONITORING)
    for name, monitor in kind(objects, "ServiceMonitor").items():
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = [one for one in kind(objects, "Service").values() if wanted <= one["metadata"]["labels"].items()]

        assert 1 == len(found), name
        assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in found[0]["spec"]["ports"]}


# -- dashboard: the rules of Grafana's dashboard-linter -------------------------------------------------------


def test_the_dashboard_lets_one_choose_source_job_and_instance() -> None:
    variables = {one["name"]: one for one in DASHBOARD["templating"]["list"]}

    assert {"datasource": "datasource", "job": "query", "instance": "query"} == {
        name: one["type"] for name, one in variables.items()
    }
    assert {2} == {variables[name]["refresh"] for name in ("job", "instance")}
    assert DASHBOARD["editable"] is False
    assert "__inputs" not in DASHBOARD


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"].replace(" ", "-"))
def test_a_panel_is_explained_and_asks_rightly(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        text = target["expr"]
        for name, matchers in re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}", text):
            assert matchers.startswith('job=~"$job", instance=~"$instance"'), name
            if name.endswith(("_total", "_bucket")):
                assert re.search(rf"rate\({name}\{{[^}}]*\}}\[\$__rate_interval\]\)", text), name


def test_the_dashboard_arrives_as_it_is() -> None:
    values = {"metrics": {"grafanaDashboard": {"enabled": True}}}
    made = kind(render(values), "ConfigMap")["ls-dashboard"]

    assert "1" == made["metadata"]["labels"]["grafana_dashboard"]
    assert DASHBOARD == json.loads(made["data"]["longshore.json"])
