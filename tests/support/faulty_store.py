"""A store that fails, delays and counts on demand, around any other; what is not asked for passes through.

For tests, from any thread. An operation is named by its method ("put", "copy", "delete", …); a rule matches one
operation, or all, at one key, or all. Of a delete, the first key counts.
AFTER: the effect took place, the reply is lost.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from s3mount.errors import StoreError, Unreachable
from s3mount.model import ETag, ObjectInfo, ObjectKey
from s3mount.store.base import (
    ANY,
    Body,
    Condition,
    GiveHeads,
    GivePuts,
    ListPage,
    ObjectStore,
    PartInfo,
    StoreProperties,
    TakeKeys,
    TakePuts,
    UploadInfo,
)
from tests.support.memory_store import PUTS_AT_ONCE, head_one_by_one, put_outcome, put_with

T = TypeVar("T")
GATE_S_MAX = 20.0
LOOK_S = 0.02
FOR_GOOD = 1 << 30


class Moment(Enum):
    BEFORE = "before"
    AFTER = "after"


@dataclass
class Rule:
    operation: str | None
    key: str | None
    moment: Moment
    error: StoreError | None
    times: int
    skip: int

    def matches(self, operation: str, key: str, moment: Moment) -> bool:
        return (
            self.times > 0 and self.moment is moment and self.operation in (None, operation) and self.key in (None, key)
        )


@dataclass
class Gate:
    """One call held up: wait until it has arrived, then let it go."""

    rule: Rule
    arrived: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def wait_arrived(self, deadline_s: float = 5.0) -> None:
        assert self.arrived.wait(deadline_s), f"no {self.rule.operation} of {self.rule.key!r} came"

    def open(self) -> None:
        self.opened.set()


class FaultyStore:
    def __init__(self, inner: ObjectStore):
        self.inner = inner
        self.calls: list[tuple[str, str]] = []
        self.watch: Callable[[str, str, Moment], None] = lambda operation, key, moment: None
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._gates: list[Gate] = []

    # -- what the test asks for ----------------------------------------------------------------------------------

    def fail(
        self, operation: str | None = None, key: str | None = None, *, error: StoreError | None = None,
        moment: Moment = Moment.BEFORE, times: int = 1, skip: int = 0,
    ) -> Rule:  # fmt: skip
        """The next `times` calls that match, after `skip` of them, raise `error` (by default Unreachable)."""
        rule = Rule(operation, key, moment, error or Unreachable("injected"), times, skip)
        with self._lock:
            self._rules.append(rule)
        return rule

    def hold(self, operation: str, key: str | None = None, *, moment: Moment = Moment.BEFORE, skip: int = 0) -> Gate:
        """The next call that matches, after `skip` of them, waits at the gate."""
        gate = Gate(Rule(operation, key, moment, None, 1, skip))
        with self._lock:
            self._gates.append(gate)
        return gate

    def heal(self) -> None:
        """No rule holds any more, all gates are open."""
        with self._lock:
            self._rules.clear()
            gates, self._gates = self._gates, []
        for gate in gates:
            gate.open()

    def count(self, operation: str | None = None, key: str | None = None) -> int:
        with self._lock:
            return sum(operation in (None, o) and key in (None, k) for o, k in self.calls)

    def _at(self, operation: str, key: str, moment: Moment) -> None:
        self.watch(operation, key, moment)
        with self._lock:
            if moment is Moment.BEFORE:
                self.calls.append((operation, key))
            gate = next((gate for gate in self._gates if self._hits(gate.rule, operation, key, moment)), None)
            rule = next((rule for rule in self._rules if self._hits(rule, operation, key, moment)), None)
        if gate is not None:
            gate.arrived.set()
            gate.opened.wait(GATE_S_MAX)
        if rule is not None and rule.error is not None:
            raise rule.error

    @staticmethod
    def _hits(rule: Rule, operation: str, key: str, moment: Moment) -> bool:
        if not rule.matches(operation, key, moment):
            return False
        if rule.skip:
            rule.skip -= 1
            return False
        rule.times -= 1
        return True

    def _call(self, operation: str, key: str, function: Callable[[], T]) -> T:
        self._at(operation, key, Moment.BEFORE)
        result = function()
        self._at(operation, key, Moment.AFTER)
        return result

    # -- the contract --------------------------------------------------------------------------------------------

    @property
    def properties(self) -> StoreProperties:
        return self.inner.properties

    def request_counts(self) -> Mapping[str, int]:
        return self.inner.request_counts()

    def check_access(self) -> None:
        self._call("check_access", "", self.inner.check_access)

    def list_page(
        self, prefix: ObjectKey, *, delimiter: str = "/", token: str | None = None, after: ObjectKey | None = None
    ) -> ListPage:
        operation = "list_page" if delimiter else "walk_page"
        return self._call(
            operation, prefix,
            lambda: self.inner.list_page(prefix, delimiter=delimiter, token=token, after=after),
        )  # fmt: skip

    def head(self, key: ObjectKey) -> ObjectInfo:
        return self._call("head", key, lambda: self.inner.head(key))

    def head_many(self, take: TakeKeys, give: GiveHeads) -> None:
        # One operation to tests, so that what they ask for of a HEAD holds for these too.
        head_one_by_one(self.head, take, give)

    def get(self, key: ObjectKey, *, start: int, end: int, if_match: ETag) -> Body:
        return self._call("get", key, lambda: self.inner.get(key, start=start, end=end, if_match=if_match))

    def get_whole(self, key: ObjectKey, *, size: int, if_match: ETag) -> tuple[ObjectInfo, Body]:
        # One operation to S3 and to tests: a GET.
        return self._call("get", key, lambda: self.inner.get_whole(key, size=size, if_match=if_match))

    def put(
        self, key: ObjectKey, body: Body, *, metadata: Mapping[str, str], content_type: str, condition: Condition = ANY
    ) -> ETag:
        return self._call(
            "put",
            key,
            lambda: self.inner.put(key, body, metadata=metadata, content_type=content_type, condition=condition),
        )

    def put_many(self, take: TakePuts, give: GivePuts) -> None:
        # Each in a thread of its own, so that one held up at a gate holds up no other.
        pool = ThreadPoolExecutor(PUTS_AT_ONCE)
        under_way: dict[Future[ETag | StoreError], ObjectKey] = {}
        try:
            while True:
                for put in take(PUTS_AT_ONCE - len(under_way)) if len(under_way) < PUTS_AT_ONCE else ():
                    future = pool.submit(put_outcome, lambda put: put_with(self, put), put)
                    under_way[future] = put.key
                if not under_way:
                    return
                done, _ = wait(under_way, timeout=LOOK_S, return_when="FIRST_COMPLETED")
                if done:
                    give({under_way.pop(future): future.result() for future in done})
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def copy(
        self, source: ObjectKey, target: ObjectKey, *, source_etag: ETag, metadata: Mapping[str, str],
        content_type: str, condition: Condition = ANY,
    ) -> ETag:  # fmt: skip
        return self._call(
            "copy",
            target,
            lambda: self.inner.copy(
                source, target, source_etag=source_etag, metadata=metadata, content_type=content_type,
                condition=condition,
            ),
        )  # fmt: skip

    def delete(self, versions: Mapping[ObjectKey, ETag | None]) -> Mapping[ObjectKey, StoreError]:
        return self._call("delete", next(iter(versions), ""), lambda: self.inner.delete(versions))

    def create_multipart(
        self, key: ObjectKey, *, metadata: Mapping[str, str], content_type: str, is_mostly_copied: bool = False
    ) -> str:
        return self._call(
            "create_multipart",
            key,
            lambda: self.inner.create_multipart(
                key, metadata=metadata, content_type=content_type, is_mostly_copied=is_mostly_copied
            ),
        )

    def upload_part(self, key: ObjectKey, upload_id: str, number: int, body: Body) -> ETag:
        return self._call("upload_part", key, lambda: self.inner.upload_part(key, upload_id, number, body))

    def copy_part(
        self, key: ObjectKey, upload_id: str, number: int, *, source: ObjectKey, source_etag: ETag, start: int, end: int
    ) -> ETag:
        return self._call(
            "copy_part",
            key,
            lambda: self.inner.copy_part(
                key, upload_id, number, source=source, source_etag=source_etag, start=start, end=end
            ),
        )

    def list_parts(self, key: ObjectKey, upload_id: str) -> Sequence[PartInfo]:
        return self._call("list_parts", key, lambda: self.inner.list_parts(key, upload_id))

    def list_multiparts(self, prefix: ObjectKey) -> Sequence[UploadInfo]:
        return self._call("list_multiparts", prefix, lambda: self.inner.list_multiparts(prefix))

    def complete_multipart(
        self, key: ObjectKey, upload_id: str, parts: Sequence[ETag], *, condition: Condition = ANY
    ) -> ETag:
        return self._call(
            "complete_multipart",
            key,
            lambda: self.inner.complete_multipart(key, upload_id, parts, condition=condition),
        )

    def abort_multipart(self, key: ObjectKey, upload_id: str) -> None:
        self._call("abort_multipart", key, lambda: self.inner.abort_multipart(key, upload_id))

    def close(self) -> None:
        self.inner.close()
