"""Schedules over the HTTP api of a cluster: resources in etcd, under the rights of the caller."""

from kube.api_service import ApiService, account

NIGHTLY = {
    "cron": "0 3 * * *",
    "timeZone": "Europe/Berlin",
    "jobTemplate": {"spec": {"handler": "echo", "args": {"x": None}}},
}


def resource(api: ApiService, name: str) -> dict[str, object]:
    path = f"/apis/longshore.dev/v1alpha1/namespaces/{api.namespace}/schedules/{name}"
    found: dict[str, object] = api.plane.must("GET", path)
    return found


def test_a_schedule_is_a_resource_that_is_made_replaced_paused_and_deleted(api: ApiService) -> None:
    made = api.ask("POST", "/v1/schedules", NIGHTLY | {"name": "nightly", "labels": {"team": "a"}})
    assert (201, 1) == (made.status, len(made.json()["nextTimes"]))
    assert {"x": None} == resource(api, "nightly")["spec"]["jobTemplate"]["spec"]["args"]  # type: ignore[index]
    assert 200 == api.ask("POST", "/v1/schedules", NIGHTLY | {"name": "nightly", "labels": {"team": "a"}}).status
    assert 409 == api.ask("POST", "/v1/schedules", NIGHTLY | {"name": "nightly", "cron": "@daily"}).status
    tag = {"If-Match": made.headers["ETag"]}
    shorter = {"cron": "@daily", "jobTemplate": {"spec": {"handler": "echo"}}}
    assert 200 == api.ask("PUT", "/v1/schedules/nightly", shorter, headers=tag).status
    assert "timeZone" not in resource(api, "nightly")["spec"] or "UTC" == resource(api, "nightly")["spec"]["timeZone"]  # type: ignore[index, operator]
    assert 412 == api.ask("PUT", "/v1/schedules/nightly", NIGHTLY, headers=tag).status
    assert [] == api.ask("POST", "/v1/schedules/nightly:pause").json()["nextTimes"]
    assert resource(api, "nightly")["spec"]["suspend"]  # type: ignore[index]
    assert api.ask("POST", "/v1/schedules/nightly:resume").json()["nextTimes"]
    assert ["nightly"] == [found["name"] for found in api.ask("GET", "/v1/schedules").json()["items"]]
    assert 204 == api.ask("DELETE", "/v1/schedules/nightly").status
    assert 404 == api.ask("GET", "/v1/schedules/nightly").status


def test_a_trigger_makes_a_job_that_the_schedule_owns_and_once_under_its_key(api: ApiService) -> None:
    uid = api.ask("PUT", "/v1/schedules/owner", NIGHTLY).json()["uid"]
    key = {"Idempotency-Key": "now"}
    jobs = [api.ask("POST", "/v1/schedules/owner:trigger", headers=key) for _ in range(2)]
    other = api.ask("POST", "/v1/schedules/owner:trigger")

    assert [202] * 3 == [answer.status for answer in (*jobs, other)]
    assert 2 == len({answer.json()["uid"] for answer in (*jobs, other)})
    (owned,) = api.resource(jobs[0].json()["id"])["metadata"]["ownerReferences"]
    assert ("Schedule", uid, True) == (owned["kind"], owned["uid"], owned["controller"])


def test_what_the_api_server_alone_can_refuse_is_named_by_the_field_of_the_request(api: ApiService) -> None:
    answer = api.ask("POST", "/v1/schedules", NIGHTLY | {"name": "wrong", "cron": "0 99 * * *"})

    assert (422, "/cron") == (answer.status, answer.json()["errors"][0]["pointer"])


def test_a_caller_without_rights_on_schedules_may_not_see_or_change_them(api: ApiService) -> None:
    account(api.plane, api.namespace, "jobs-only", [
        {"apiGroups": ["longshore.dev"], "resources": ["jobs"], "verbs": ["*"]}])  # fmt: skip
    token = api.plane.must("POST", f"/api/v1/namespaces/{api.namespace}/serviceaccounts/jobs-only/token", {
        "spec": {"expirationSeconds": 3600}})["status"]["token"]  # fmt: skip
    own = {"Authorization": f"Bearer {token}"}
    asked = [
        ("GET", "/v1/schedules"),
        ("PUT", "/v1/schedules/mine"),
        ("DELETE", "/v1/schedules/owner"),
        ("POST", "/v1/schedules/owner:pause"),
    ]

    assert [403] * 4 == [
        api.request(method, path, NIGHTLY if method == "PUT" else None, headers=own).status for method, path in asked
    ]
