"""The operator's port, asked over loopback."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from longshore_operator.errors import KubeUnavailable
from longshore_operator.health import Callbacks, HealthServer, Silence

Json = dict[str, Any]
TOKEN = "old-token\nnew-token\n"
PLACES = ["/v1/explain/ns/job", "/v1/workers", "/v1/queues"]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


class Operator:
    """What the port is told; tests change it."""

    def __init__(self) -> None:
        self.silences: dict[str, Silence] = {"jobs": Silence(149, 150)}
        self.unsynced: set[str] = set()
        self.broken: Exception | None = None
        self.leader: str | None = None

    def callbacks(self) -> Callbacks:
        return Callbacks(
            metrics=lambda: b"longshore_operator_leader 1.0\n", silences=lambda: self.silences,
            unsynced=lambda: self.unsynced, explain=self.explain, pool=self.pool, retry_webhook=self.retry_webhook,
            workers=self.workers, queues=self.queues, elsewhere=lambda: self.leader,
        )  # fmt: skip

    async def explain(self, namespace: str, name: str) -> Json | None:
        return {"why": f"{namespace}/{name} waits"} if name == "job" else None

    async def retry_webhook(self, namespace: str, name: str) -> bool:
        return (namespace, name) == ("ns", "job")

    async def pool(self, namespace: str, name: str) -> Json | None:
        if name not in ("default", "cold"):
            return None
        return {
            "reason": "Starting" if name == "cold" else "Demand",
            "demand": {"wantedSlots": 2.5},
            "slotsPerWorker": 4,
        }

    async def workers(self) -> Json:
        if self.broken is not None:
            raise self.broken
        return {"workers": []}

    async def queues(self) -> Json:
        return {"queues": ["default"]}


class Client:
    """Asks one port."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session, self._base = session, f"http://127.0.0.1:{port}"

    async def post(self, path: str, authorization: str = "") -> int:
        """Status of a POST without a body."""
        async with self._session.post(self._base + path, headers={"Authorization": authorization}) as answer:
            return answer.status

    async def get(self, path: str, authorization: str | None = None) -> tuple[int, Any, Any]:
        """Status, body (parsed when it is JSON) and headers."""
        headers = {"Authorization": authorization} if authorization is not None else {}
        async with self._session.get(self._base + path, headers=headers) as answer:
            body = await answer.json(content_type=None) if "json" in answer.content_type else await answer.text()
            return answer.status, body, answer.headers


@asynccontextmanager
async def serving(operator: Operator, **settings: Any) -> AsyncIterator[Client]:
    server = HealthServer("127.0.0.1", 0, operator.callbacks(), **settings)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Client(session, server.port)
    finally:
        await server.stop()


def test_alive_until_a_watch_is_silent_for_too_long() -> None:
    async def test() -> None:
        operator = Operator()
        async with serving(operator) as client:
            assert (200, {"status": "ok"}) == (await client.get("/livez"))[:2]
            operator.silences["pods"] = Silence(151, 150)
            status, body, headers = await client.get("/livez")
            assert (503, "application/problem+json") == (status, headers["Content-Type"])
            assert "the watch of pods has been silent for 151 s, 150 s are allowed" == body["detail"]

    run(test())


def test_not_alive_when_the_event_loop_is_late() -> None:
    async def test() -> None:
        time = [0.0]
        async with serving(Operator(), loop_limit_seconds=5, clock=lambda: time[0]) as client:
            assert 200 == (await client.get("/livez"))[0]
            time[0] += 30
            status, body, _ = await client.get("/livez")
            assert 503 == status
            assert "the event loop was" in body["detail"]

            async def back() -> None:  # once a stamp was made in time
                while (await client.get("/livez"))[0] != 200:
                    await asyncio.sleep(0.05)

            await asyncio.wait_for(back(), 20)

    run(test())


def test_a_webhook_is_tried_again_for_the_api_alone_and_by_the_leader(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n")

    async def test() -> None:
        operator = Operator()
        async with serving(operator, token_file=tokens) as client:
            assert 401 == await client.post("/v1/webhooks/ns/job/retry", "Bearer other")
            assert 200 == await client.post("/v1/webhooks/ns/job/retry", "Bearer secret")
            assert 404 == await client.post("/v1/webhooks/ns/none/retry", "Bearer secret")
            assert 405 == (await client.get("/v1/webhooks/ns/job/retry", "Bearer secret"))[0]
            operator.leader = "another"
            assert 503 == await client.post("/v1/webhooks/ns/job/retry", "Bearer secret")

    run(test())


def test_an_autoscaler_asks_without_a_token_and_only_a_leader_answers(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n")

    async def test() -> None:
        async with serving(Operator(), token_file=tokens) as client:
            assert (200, {"wantedSlots": 2.5, "slotsPerWorker": 4}) == (
                await client.get("/v1/pools/here/default/load")
            )[:2]
            assert 503 == (await client.get("/v1/pools/here/cold/load"))[0]
            assert 404 == (await client.get("/v1/pools/here/nobody/load"))[0]
            assert 401 == (await client.get("/v1/pools/here/default"))[0]
            assert 200 == (await client.get("/v1/pools/here/default", "Bearer secret"))[0]
            assert 404 == (await client.get("/v1/pools/here/nobody", "Bearer secret"))[0]

    run(test())


def test_ready_when_everything_is_known() -> None:
    async def test() -> None:
        operator = Operator()
        operator.unsynced = {"pods", "jobs"}
        async with serving(operator) as client:
            status, body, _ = await client.get("/readyz")
            assert (503, "not known yet: jobs, pods") == (status, body["detail"])
            operator.unsynced.clear()
            assert (200, {"status": "ok"}) == (await client.get("/readyz"))[:2]

    run(test())


def test_metrics_need_no_token(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "token").write_text(TOKEN)
        async with serving(Operator(), token_file=tmp_path / "token") as client:
            status, body, headers = await client.get("/metrics")
            assert (200, "longshore_operator_leader 1.0\n") == (status, body)
            assert headers["Content-Type"].startswith("text/plain; version=0.0.4")

    run(test())


def test_the_leader_answers_whoever_has_one_of_two_tokens(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "token").write_text(TOKEN)
        async with serving(Operator(), token_file=tmp_path / "token") as client:
            for token in ("Bearer old-token", "Bearer new-token", "bearer new-token"):
                assert (200, {"why": "ns/job waits"}) == (await client.get("/v1/explain/ns/job", token))[:2]
            assert (200, {"workers": []}) == (await client.get("/v1/workers", "Bearer old-token"))[:2]
            assert (200, {"queues": ["default"]}) == (await client.get("/v1/queues", "Bearer old-token"))[:2]
            status, body, _ = await client.get("/v1/explain/ns/other", "Bearer old-token")
            assert (404, "no job ns/other is waiting or running") == (status, body["detail"])
            # A rotation: the file changes, and the old value is worth nothing from then on.
            (tmp_path / "token").write_text("new-token")
            assert 401 == (await client.get("/v1/workers", "Bearer old-token"))[0]
            assert 200 == (await client.get("/v1/workers", "Bearer new-token"))[0]

    run(test())


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer old-token new-token", "old-token", "Basic old-token"]
)  # fmt: skip
def test_nobody_else_is_answered(tmp_path: Path, path: str, given: str | None) -> None:
    async def test() -> None:
        (tmp_path / "token").write_text(TOKEN)
        async with serving(Operator(), token_file=tmp_path / "token") as client:
            status, body, headers = await client.get(path, given)
            assert (401, "Bearer") == (status, headers.get("WWW-Authenticate"))
            assert "a bearer token is needed" == body["detail"]

    run(test())


def test_bytes_that_are_no_text_are_no_token(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "token").write_text(TOKEN)
        server = HealthServer("127.0.0.1", 0, Operator().callbacks(), token_file=tmp_path / "token")
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /v1/workers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n"
        )
        assert b"HTTP/1.1 401 Unauthorized\r\n" == await reader.readline()
        writer.close()
        await writer.wait_closed()
        await server.stop()

    run(test())


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("content", [None, "", " \n"])
def test_without_tokens_there_is_nothing_to_ask(tmp_path: Path, path: str, content: str | None) -> None:
    async def test() -> None:
        file = tmp_path / "token"
        if content is not None:
            file.write_text(content)
        async with serving(Operator(), token_file=file) as client:
            assert 404 == (await client.get(path, "Bearer "))[0]
        async with serving(Operator()) as client:
            assert 404 == (await client.get(path, "Bearer x"))[0]

    run(test())


def test_what_goes_wrong_is_a_problem_document(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "token").write_text("t")
        operator = Operator()
        async with serving(operator, token_file=tmp_path / "token") as client:
            operator.broken = KubeUnavailable("no answer", 7)
            status, body, headers = await client.get("/v1/workers", "Bearer t")
            assert (503, "7", "no answer") == (status, headers["Retry-After"], body["detail"])
            operator.broken = RuntimeError("a secret")
            status, body, _ = await client.get("/v1/workers", "Bearer t")
            assert 500 == status
            assert "a secret" not in str(body)
            status, body, headers = await client.get("/nothing")
            assert (404, "application/problem+json") == (status, headers["Content-Type"])

    run(test())


def test_a_taken_port_is_an_error_and_nothing_is_left_behind() -> None:
    async def test() -> None:
        operator = Operator()
        server = HealthServer("127.0.0.1", 0, operator.callbacks())
        await server.start()
        port, before = server.port, asyncio.all_tasks()
        with pytest.raises(OSError, match="address already in use"):
            await HealthServer("127.0.0.1", port, operator.callbacks()).start()
        assert before == asyncio.all_tasks()
        await server.stop()
        again = HealthServer("127.0.0.1", port, operator.callbacks())
        await again.start()
        await again.stop()

    run(test())


@pytest.mark.parametrize(("leader", "who"), [("one_10.0.0.7:8082", "one_10.0.0.7:8082"), ("", "nobody")])
def test_who_does_not_lead_says_who_does(tmp_path: Path, leader: str, who: str) -> None:
    async def body() -> None:
        operator, tokens = Operator(), tmp_path / "tokens"
        operator.leader = leader
        tokens.write_text(TOKEN)
        async with serving(operator, token_file=tokens) as client:
            for place in PLACES:
                status, problem, headers = await client.get(place, "Bearer new-token")
                assert (503, "/problems/not-leading", "2") == (status, problem["type"], headers["Retry-After"])
                assert f"; {who} does" in problem["detail"]
                assert 401 == (await client.get(place, "Bearer wrong"))[0], "nobody else is told who leads"
            assert 200 == (await client.get("/livez"))[0]

    run(body())
