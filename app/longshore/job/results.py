"""Names of what a results directory keeps: made of identities alone, never of what a user wrote.

``NAMESPACE/UID/ITEM.NUMBER.BOOT.KIND``: whose job, which item (``job`` when it is no array), which attempt, which boot of a
worker. So nothing that is told late, or by a worker that was given up, meets the file that the record names.
"""

import re
from dataclasses import dataclass

MAX_STATUS_RESULT_BYTES = 16 * 1024  # in a cluster; every write rewrites a status, and etcd is no place for more

RESULT, OUTPUT = "json", "log"
_NAME = re.compile(
    r"([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/([A-Za-z0-9][A-Za-z0-9-]{0,63})"
    r"/(job|\d{1,5})\.([1-9]\d{0,8})\.([0-9a-f]{8})\.(json|log)"
)


@dataclass(frozen=True, slots=True)
class KeptFile:
    """What one file is about."""

    namespace: str
    uid: str
    index: int | None
    number: int
    boot: str
    """Boot id of the worker that wrote it."""
    kind: str
    """RESULT or OUTPUT."""

    @property
    def name(self) -> str:
        """Its name below the directory; raises ValueError for a part that could not be one."""
        item = "job" if self.index is None else str(self.index)
        name = f"{self.namespace}/{self.uid}/{item}.{self.number}.{self.boot}.{self.kind}"
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a result")
        return name

    def of(self, namespace: str, uid: str, index: int | None, number: int) -> bool:
        """Whether it is the result of this attempt."""
        return (RESULT, namespace, uid, index, number) == (
            self.kind, self.namespace, self.uid, self.index, self.number)  # fmt: skip


def parse(name: str) -> KeptFile | None:
    """What a name says; None for one that is none of ours."""
    if (found := _NAME.fullmatch(name)) is None:
        return None
    namespace, uid, item, number, boot, kind = found.groups()
    return KeptFile(namespace, uid, None if item == "job" else int(item), int(number), boot, kind)
