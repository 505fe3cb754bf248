"""What the chart renders with `tls.enabled`: who mounts which Secret, and how each port is called, probed and scraped."""

from typing import Any

import kubernetes_validate
import pytest

from helm_chart import MONITORING, NEWEST, Object, kind, pods, render
from longshore.tls import operator_name, worker_name

NAMESPACE = "demo"
TLS: dict[str, Any] = {"enabled": True, "secretName": "certificates"}
OWN = {"enabled": True} | {f"{role}SecretName": f"{role}-certificate" for role in ("operator", "api", "workers")}
DEPLOYMENTS = {"operator": "ls-operator", "api": "ls-api", "workers": "ls-pool-default"}


def container(objects: list[Object], component: str) -> Any:
    deployment = kind(objects, "Deployment")[DEPLOYMENTS[component]]
    kubernetes_validate.validate(deployment, NEWEST, strict=True)
    return deployment["spec"]["template"]["spec"]["containers"][0]


def mounted(objects: list[Object], component: str) -> tuple[str, list[str]]:
    """The Secret of a component's certificate, and what of it the pod sees."""
    spec = kind(objects, "Deployment")[DEPLOYMENTS[component]]["spec"]["template"]["spec"]
    secret = next(one["secret"] for one in spec["volumes"] if one["name"] == "longshore-tls")
    return secret["secretName"], [item["key"] for item in secret["items"]]


@pytest.mark.parametrize("component", DEPLOYMENTS)
def test_each_component_reads_its_certificate_from_the_folder_that_is_mounted(component: str) -> None:
    objects = render({"tls": TLS})
    found = container(objects, component)
    variable = "LONGSHORE_OPERATOR_TLS_DIR" if component == "operator" else "LONGSHORE_TLS_DIR"
    folder = next(one["value"] for one in found["env"] if one["name"] == variable)

    assert [True] == [one["readOnly"] for one in found["volumeMounts"] if one["mountPath"] == folder]
    files = ["tls.crt", "tls.key", "ca.crt"][: 2 if component == "workers" else 3]  # workers call nobody
    assert ("certificates", files) == mounted(objects, component)


@pytest.mark.parametrize("component", DEPLOYMENTS)
def test_a_component_may_have_a_secret_of_its_own(component: str) -> None:
    assert f"{component}-certificate" == mounted(render({"tls": OWN}), component)[0]


def test_probes_of_ports_that_speak_tls_say_so() -> None:
    objects = render({"tls": TLS})
    for component, scheme in {"operator": "HTTPS", "api": "HTTPS", "workers": None}.items():
        found = container(objects, component)
        probes = [found[f"{name}Probe"]["httpGet"].get("scheme") for name in ("startup", "liveness", "readiness")]
        assert [scheme] * 3 == probes, component


def test_services_say_https_and_pods_keep_the_port_that_the_operator_looks_for() -> None:
    objects = render({"tls": TLS})
    ports = {name: one["spec"]["ports"][0] for name, one in kind(objects, "Service").items()}

    assert {"ls-operator": "https-metrics", "ls-api": "https", "ls-workers": "https"} == {
        name: port["name"] for name, port in ports.items()
    }
    assert {"https"} == {port["appProtocol"] for port in ports.values()}
    assert "http" == container(objects, "workers")["ports"][0]["name"]
    url = next(one["value"] for one in container(objects, "workers")["env"] if one["name"] == "LONGSHORE_API_URL")
    assert "https://ls-api.$(POD_NAMESPACE).svc:80" == url


@pytest.mark.parametrize("monitor", ["ServiceMonitor", "PodMonitor"])
def test_prometheus_checks_the_name_that_each_component_shows(monitor: str) -> None:
    metrics = {f"{monitor[0].lower()}{monitor[1:]}": {"enabled": True}}
    objects = render({"tls": OWN, "metrics": metrics}, apis=MONITORING)
    names = {
        "ls-operator": operator_name(NAMESPACE),
        "ls-api": f"ls-api.{NAMESPACE}.svc",
        "ls-workers": worker_name(NAMESPACE),
    }
    secrets = {"ls-operator": "operator", "ls-api": "api", "ls-workers": "operator"}
    for name, found in kind(objects, monitor).items():
        endpoint = found["spec"]["endpoints" if monitor == "ServiceMonitor" else "podMetricsEndpoints"][0]
        ca = {"secret": {"name": f"{secrets[name]}-certificate", "key": "ca.crt"}}
        assert ("https", {"ca": ca, "serverName": names[name]}) == (endpoint["scheme"], endpoint["tlsConfig"])
        assert ("https" in endpoint["port"]) == (monitor == "ServiceMonitor")


def test_an_ingress_goes_to_the_port_by_its_name() -> None:
    objects = render({"tls": TLS, "api": {"ingress": {"enabled": True, "hosts": ["jobs.example"]}}})
    backend = kind(objects, "Ingress")["ls-api"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]

    assert "https" == backend["service"]["port"]["name"]


def test_helm_test_calls_over_tls_and_is_given_the_authority_alone() -> None:
    tests = [one for one in render({"tls": OWN}) if one["kind"] == "Pod"]
    assert tests
    for pod in tests:
        variables = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
        secret = next(one["secret"] for one in pod["spec"]["volumes"] if "secret" in one)
        assert "https://ls-api.$(POD_NAMESPACE).svc:80" == variables["CHECK_URL"]
        assert ("api-certificate", ["ca.crt"]) == (secret["secretName"], [one["key"] for one in secret["items"]])


def test_keda_asks_the_operator_over_tls() -> None:
    pool = {"minWorkers": 0, "maxWorkers": 3, "autoscaling": {"mode": "keda"}}
    objects = render({"tls": TLS, "pools": {"default": pool}})
    metadata = kind(objects, "ScaledObject")["ls-pool-default"]["spec"]["triggers"][0]["metadata"]

    assert ("https://", "true") == (metadata["url"][:8], metadata["unsafeSsl"])


def test_without_tls_nothing_of_it_is_rendered() -> None:
    objects = render({"metrics": {"serviceMonitor": {"enabled": True}}}, apis=MONITORING)

    assert (
        "tls"
        not in str([one for one in objects if one["kind"] not in ("ConfigMap", "CustomResourceDefinition")]).lower()
    )
    assert pods(objects)
