"""What the results directory has of the jobs of a cluster: results that no status has room for, and output of ended attempts.

A status names the one file of a job's result. Of array items it has no room to: there the file of the highest attempt counts,
which is the one on record, because an item that has succeeded is not attempted again.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import cast

import orjson

from longshore.errors import Gone, StoreUnavailable
from longshore.job.output import chunk, unpacked
from longshore.job.results import OUTPUT, RESULT, KeptFile, parse
from longshore.store.kubernetes.documents import Resource
from longshore.store.port import JobDoc, LogChunk
from longshore.store.results import Results
from longshore.store.service import log_chunk

OUTPUT_BYTES = 64 * 1024 * 1024  # of one file; the settings of workers say how much they keep
PAGE_BYTES = 16 * 1024 * 1024  # of the results of one page of items; more are named, not shown

_log = logging.getLogger("longshore.results")


class Kept:
    """Reads the results directory; without one everything is Gone. ``limit`` is of one result, bytes."""

    def __init__(self, results: Results | None, limit: int) -> None:
        self._results, self._limit = results, limit

    def result(self, id: str, namespace: str, uid: str, name: str) -> orjson.Fragment:
        """The result that a status names; raises Gone with the reason, StoreUnavailable."""
        file = parse(name)
        if file is None or (file.namespace, file.uid, file.kind) != (namespace, uid, RESULT):
            raise Gone(f"the status of job {id} names a result that is not its own: {name}")
        return orjson.Fragment(self._read(file, self._limit, "the result", orjson.loads))

    def attached(self, doc: JobDoc) -> JobDoc:
        """The document with its result, if it names one that is there."""
        status = cast("dict[str, object]", doc["status"])
        if "resultRef" not in status or "result" in status:
            return doc
        id, namespace, uid = str(doc["id"]), str(doc["namespace"]), str(doc["uid"])
        try:
            found = self.result(id, namespace, uid, str(status["resultRef"]))
        except (Gone, StoreUnavailable) as error:
            _log.warning("%s", error)  # the document says where it should be; asked for alone, why it is not
            return doc
        return {**doc, "status": {**status, "result": found}}

    def items(self, namespace: str, uid: str, indexes: Collection[int]) -> Mapping[int, Mapping[str, object]]:
        """Of items that have succeeded: ``result``, or ``resultRef`` where the page has no room for it or it is not there."""
        latest = self._latest(namespace, uid, RESULT)
        found: dict[int, Mapping[str, object]] = {}
        room = PAGE_BYTES
        for index in sorted(latest.keys() & set(indexes)):
            file = latest[index]
            found[index] = {"resultRef": file.name}
            try:
                data = self._read(file, min(self._limit, room) if found else self._limit, "the result", orjson.loads)
            except (Gone, StoreUnavailable) as error:
                _log.warning("%s", error)
                continue
            room = max(0, room - len(data))
            found[index] = {"result": orjson.Fragment(data)}
        return found

    def output(self, job: Resource, number: int | None, index: int | None, offset: int) -> LogChunk | None:
        """A piece of the output of an attempt that has ended, of the latest without a number; None when it is not there."""
        metadata = job["metadata"]
        files = [file for file in self._files(metadata["namespace"], metadata["uid"])
                 if (file.kind, file.index) == (OUTPUT, index) and number in (None, file.number)]  # fmt: skip
        for file in sorted(files, key=_age, reverse=True):
            try:
                output = unpacked(self._read(file, OUTPUT_BYTES, "the output", unpacked))
            except Gone as error:
                _log.warning("%s", error)
                continue
            return log_chunk(chunk(output, offset, complete=True, number=file.number))
        return None

    def _latest(self, namespace: str, uid: str, kind: str) -> dict[int, KeptFile]:
        """Of each item the file of its highest attempt."""
        found: dict[int, KeptFile] = {}
        for file in self._files(namespace, uid):
            if file.kind == kind and file.index is not None:
                found[file.index] = max(found.get(file.index, file), file, key=_age)
        return found

    def _files(self, namespace: str, uid: str) -> list[KeptFile]:
        if self._results is None:
            return []
        try:
            names = self._results.names(f"{namespace}/{uid}")
        except OSError as error:
            raise _away(error) from error
        return [file for name in names if (file := parse(f"{namespace}/{uid}/{name}")) is not None]

    def _read(self, file: KeptFile, limit: int, what: str, check: Callable[[bytes], object]) -> bytes:
        """Raises Gone when it is not there or is not what a worker wrote, StoreUnavailable when the directory is not."""
        if self._results is None:
            raise Gone(
                f"{what} is kept as {file.name}, and this service has no results directory (setting results_dir)"
            )
        try:
            data = self._results.get(file.name, limit)
            check(data)
        except FileNotFoundError as error:
            raise Gone(f"{what} was kept as {file.name}, which is not there any more") from error
        except ValueError as error:
            raise Gone(f"{what} is kept as {file.name}, which cannot be shown: {error}") from error
        except OSError as error:
            raise _away(error) from error
        return data


def _age(file: KeptFile) -> tuple[int, str]:
    return file.number, file.boot


def _away(error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"the results directory cannot be read: {error.strerror or error}", retry_after=5)
