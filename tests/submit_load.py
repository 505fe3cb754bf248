"""Clients that keep a service busy while something happens to it."""

import http.client
import json
import threading
from typing import Self

from service import Service


class Load:
    """Clients that submit one job after another: on a kept connection, and on a new one each."""

    def __init__(self, service: Service, *, pause: float = 0.02) -> None:
        self.ids: list[str] = []
        self.wrong: list[object] = []
        self._service, self._over, self._pause = service, threading.Event(), pause
        self._threads = [threading.Thread(target=self._run, args=(kept,)) for kept in (True, True, False, False)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, kept: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=60)
        while not self._over.is_set():
            try:
                connection.request("POST", "/v1/jobs", '{"handler": "echo"}', {"Content-Type": "application/json"})
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(error)
                connection.close()
                continue
            if answer.status == 202:
                self.ids.append(json.loads(body)["id"])
            else:
                self.wrong.append((answer.status, body))
            if not kept:
                connection.close()
            self._over.wait(self._pause)
        connection.close()
