"""Azure Resource Manager in memory: small, deterministic, with the surprises that a reconciler must survive.

It keeps resources in REST shape, starts operations that end by the test's clock (or after a number of polls), locks a
gateway with its connections while one runs, refuses what refers to something that is missing or not ready, and fails
on request. It is not the lab's ARM: no packets, no timing model, only the rules the control plane reacts to.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from shared.domain import bgp
from shared.errors import ArmBusy, ArmRejected, PermanentError
from shared.seams import ArmKind, ArmRef, Asked, BgpQuestion, Clock, Json, Operation, OperationState, Started
from tests.fakes.arm_records import Request, Running, Script
from tests.fakes.arm_rules import TAKES_S, bgp_settings, masked, references

T = TypeVar("T")

HOST = "https://management.invalid"
READS = ("get", "list", "poll", "has_shared_key", "move_shared_key", "ask_bgp", "bgp_answer")


@dataclass
class _World:
    groups: set[tuple[str, str]] = field(default_factory=set)
    resources: dict[str, Json] = field(default_factory=dict)
    operations: dict[str, Running] = field(default_factory=dict)
    shared_keys: dict[str, str] = field(default_factory=dict, repr=False)
    asns: dict[str, int] = field(default_factory=dict)
    count: int = 0


class FakeArm:
    """`takes_s` may be changed by a test; with `polls` set, an operation ends at its n-th poll, not by the clock.
    `tells`: what the gateway answers to a question of BGP."""

    def __init__(self, clock: Clock, polls: int | None = None) -> None:
        self.takes_s = dict(TAKES_S)
        self.polls = polls
        self.requests: list[Request] = []
        self.resets: dict[str, int] = {}
        self.retry_after_s = 10.0
        self.tells: Callable[[BgpQuestion, str], list[Json]] = lambda question, peer: []
        self._clock = clock
        self._world = _World()
        self._scripts: list[Script] = []
        self._questions: dict[str, tuple[datetime, str]] = {}  # URL -> when it is answered, the neighbour asked of
        self._quiet: tuple[datetime, float] | None = None

    # -- the seam

    async def ensure_resource_group(self, subscription: str, name: str, location: str) -> None:
        self._call(
            "ensure_resource_group", None, name, None, lambda: self._world.groups.add((subscription, name.lower()))
        )

    async def get(self, ref: ArmRef) -> Json | None:
        return self._call("get", ref, ref.id(), None, lambda: self.resource(ref))

    async def list(self, subscription: str, resource_group: str, kind: ArmKind) -> Sequence[Json]:
        every = ArmRef(subscription, resource_group, kind, "")

        def act() -> list[Json]:
            found = [copy.deepcopy(r) for i, r in self._world.resources.items() if i.startswith(_id(every))]
            for item in found:
                item["properties"].pop("connectionStatus", None)
            return found

        return self._call("list", every, every.id().rstrip("/"), None, act)

    async def put(self, ref: ArmRef, body: Json) -> Started:
        return self._call("put", ref, ref.id(), body, lambda: self._put(ref, copy.deepcopy(body)))

    async def delete(self, ref: ArmRef) -> Started | None:
        return self._call("delete", ref, ref.id(), None, lambda: self._delete(ref))

    async def set_shared_key(self, ref: ArmRef, value: str) -> Started:
        def act() -> Started:
            self._must_exist(ref)
            self._must_be_free(ref)
            self._world.shared_keys[_id(ref)] = value
            return self._start("set_shared_key", ref)

        return self._call("set_shared_key", ref, ref.id(), {"value": "***"}, act)

    async def has_shared_key(self, ref: ArmRef, value: str) -> bool:
        def act() -> bool:
            self._must_exist(ref)
            return self._world.shared_keys.get(_id(ref)) == value

        return self._call("has_shared_key", ref, ref.id(), None, act)

    async def move_shared_key(self, ref: ArmRef, put: Callable[[str], Awaitable[str]]) -> str:
        def act() -> str:
            self._must_exist(ref)
            return self._world.shared_keys[_id(ref)]

        return await put(self._call("move_shared_key", ref, ref.id(), None, act))

    async def tag(self, ref: ArmRef, tags: Mapping[str, str]) -> Started:
        def act() -> Started:
            self._must_exist(ref)
            self._must_be_free(ref)
            self._world.resources[_id(ref)]["tags"] = dict(tags)
            return Started(None, 1.0)

        return self._call("tag", ref, ref.id(), {"tags": dict(tags)}, act)

    async def reset_connection(self, ref: ArmRef) -> Started:
        return self._call("reset_connection", ref, ref.id(), None, lambda: self._reset("reset_connection", ref))

    async def reset_gateway(self, ref: ArmRef) -> Started:
        return self._call("reset_gateway", ref, ref.id(), None, lambda: self._reset("reset_gateway", ref))

    async def poll(self, operation_url: str) -> Operation:
        _must_be_here(operation_url)
        return self._call("poll", None, operation_url, None, lambda: self._poll(operation_url))

    async def ask_bgp(self, gateway: ArmRef, question: BgpQuestion, peer: str = "") -> Asked:
        def act() -> Asked:
            self._must_exist(gateway)
            if question is BgpQuestion.ADVERTISED and not peer:
                raise ArmRejected("getAdvertisedRoutes needs 'peer'.", 400, "MissingPeer")
            url = f"{HOST}/questions/{len(self._questions)}?question={question.value}"
            self._questions[url] = (self._clock.now() + timedelta(seconds=self.takes_s["ask_bgp"]), peer)
            return Asked(url, self.retry_after_s)

        return self._call("ask_bgp", gateway, f"{gateway.id()}/{question.value}", None, act)

    async def bgp_answer(self, question: BgpQuestion, operation_url: str) -> Asked:
        _must_be_here(operation_url)

        def act() -> Asked:
            if operation_url not in self._questions:
                raise ArmRejected("Operation not found.", 404, "NotFound")
            ends_at, peer = self._questions[operation_url]
            if self._clock.now() < ends_at:
                return Asked(operation_url, self.retry_after_s)
            return Asked(None, 0, bgp.read(question, {"value": self.tells(question, peer)}))

        return self._call("bgp_answer", None, operation_url, None, act)

    # -- for tests

    def fail_next(self, verb: str, error: Exception, kind: ArmKind | None = None, after: bool = False) -> None:
        """The next call of `verb` (of that kind) raises `error`; with `after`, it takes effect, answer lost."""
        self._scripts.append(Script(verb, kind, error=error, after=after))

    def fail_next_operation(self, verb: str, code: str, message: str = "", kind: ArmKind | None = None) -> None:
        """The next operation that `verb` starts ends Failed with this code."""
        self._scripts.append(Script(verb, kind, operation_error=(code, message or code)))

    def lose_next_operation(self, verb: str, kind: ArmKind | None = None) -> None:
        """The URL of the next operation that `verb` starts answers 404; the operation itself goes on."""
        self._scripts.append(Script(verb, kind, operation_gone=True))

    def throttle(self, for_s: float, retry_after_s: float) -> None:
        """For so long every call is refused, with 429 and this Retry-After."""
        self._quiet = (self._clock.now() + timedelta(seconds=for_s), retry_after_s)

    def finish_all(self) -> None:
        """Every running operation ends now."""
        for operation in list(self._world.operations.values()):
            self._finish(operation)

    def seed(self, ref: ArmRef, body: Json) -> None:
        """A resource that somebody made before: complete at once and not in `requests`."""
        self._world.groups.add((ref.subscription, ref.resource_group.lower()))
        started = self._put(ref, copy.deepcopy(body))
        self._finish(self._world.operations[started.operation_url or ""])

    def edit(self, ref: ArmRef, change: Callable[[Json], None]) -> None:
        """Somebody else changes the resource behind the control plane's back."""
        change(self._world.resources[_id(ref)])

    def remove(self, ref: ArmRef) -> None:
        """Somebody else deletes the resource behind the control plane's back."""
        del self._world.resources[_id(ref)]

    def set_connection_status(self, ref: ArmRef, status: str) -> None:
        """Unknown, Connecting, Connected or NotConnected."""
        self._world.resources[_id(ref)]["properties"]["connectionStatus"] = status

    def shared_key(self, ref: ArmRef) -> str | None:
        return self._world.shared_keys.get(_id(ref))

    def resource(self, ref: ArmRef) -> Json | None:
        """As `get` would answer, without being counted as a request."""
        self._settle()
        return copy.deepcopy(self._world.resources.get(_id(ref)))

    def writes(self) -> Sequence[Request]:
        return [r for r in self.requests if r.verb not in READS]

    def running(self) -> Sequence[str]:
        self._settle()
        return [f"{o.verb} {o.ref.id()}" for o in self._world.operations.values() if o.state is OperationState.RUNNING]

    # -- how it works

    def _call(self, verb: str, ref: ArmRef | None, target: str, body: Json | None, act: Callable[[], T]) -> T:
        self._settle()
        script = next((s for s in self._scripts if s.verb == verb and s.error and self._of(s, ref)), None)
        if script:
            self._scripts.remove(script)
        outcome = "ok"
        try:
            if self._quiet and self._clock.now() < self._quiet[0]:
                raise ArmBusy("The request is being throttled.", self._quiet[1], "SubscriptionRequestsThrottled")
            if script and script.error and not script.after:
                raise script.error
            answer = act()
            if script and script.error:
                raise script.error
        except Exception as e:
            outcome = type(e).__name__
            raise
        finally:
            self.requests.append(Request(verb, target, masked(body), outcome, self._clock.now()))
        return answer

    @staticmethod
    def _of(script: Script, ref: ArmRef | None) -> bool:
        return script.kind is None or (ref is not None and ref.kind is script.kind)

    def _put(self, ref: ArmRef, body: Json) -> Started:
        if (ref.subscription, ref.resource_group.lower()) not in self._world.groups:
            raise ArmRejected(f"Resource group '{ref.resource_group}' not found.", 404, "ResourceGroupNotFound")
        self._validate(ref, body)
        self._must_be_free(ref)
        old = self._world.resources.get(_id(ref))
        properties = body.setdefault("properties", {})
        key = properties.pop("sharedKey", None)
        if ref.kind is ArmKind.CONNECTION:
            if key is not None and old is None:  # on a re-PUT Azure ignores it: set_shared_key is the way
                self._world.shared_keys[_id(ref)] = key
            properties.setdefault(
                "connectionStatus", (old or {}).get("properties", {}).get("connectionStatus", "Unknown")
            )
        self._number_children(ref, properties, old)
        properties["provisioningState"] = "Updating"
        self._world.resources[_id(ref)] = {
            "id": ref.id(),
            "name": ref.name,
            "type": f"Microsoft.Network/{ref.kind.value}",
            "tags": {},
            **{k: v for k, v in body.items() if k not in ("id", "name", "type", "etag")},
            "etag": self._etag(),
        }
        return self._start("put", ref)

    def _number_children(self, ref: ArmRef, properties: Json, old: Json | None) -> None:
        for group in ("subnets", "ipConfigurations"):
            for child in properties.get(group, []):
                child["id"] = f"{ref.id()}/{group}/{child['name']}"
        if ref.kind is ArmKind.PUBLIC_IP and old and "ipAddress" in old["properties"]:
            properties["ipAddress"] = old["properties"]["ipAddress"]
        if ref.kind is ArmKind.GATEWAY:
            self._world.asns[_id(ref)] = properties.get("bgpSettings", {}).get("asn", 65515)
            unset = {"asn": 0, "peerWeight": 0, "bgpPeeringAddresses": []}
            properties["bgpSettings"] = old["properties"]["bgpSettings"] if old else unset

    def _validate(self, ref: ArmRef, body: Json) -> None:
        properties = body.get("properties", {})
        if ref.kind is ArmKind.LOCAL_GATEWAY:
            if ("gatewayIpAddress" in properties) == ("fqdn" in properties):
                raise ArmRejected("Exactly one of gatewayIpAddress and fqdn is needed.", 400, "InvalidRequestFormat")
            prefixes = properties.get("localNetworkAddressSpace", {}).get("addressPrefixes")
            if not prefixes and not properties.get("bgpSettings"):
                raise ArmRejected("A local network gateway needs prefixes or BGP.", 400, "InvalidRequestFormat")
        for target in references(properties):
            found = self._world.resources.get(target)
            if found is None:
                raise ArmRejected(f"Resource {target} was not found.", 400, "InvalidResourceReference")
            state = found["properties"]["provisioningState"]
            if state != "Succeeded":
                raise ArmBusy(
                    f"Resource {target} is in {state} state.", self.retry_after_s, "RetryableError", locked=True
                )

    def _delete(self, ref: ArmRef) -> Started | None:
        if _id(ref) not in self._world.resources:
            return None
        self._must_be_free(ref)
        users = [i for i, r in self._world.resources.items() if _id(ref) in references(r["properties"])]
        if users:
            raise ArmRejected(f"{ref.kind.value} {ref.name} is in use by {users[0]}.", 400, "InUse")
        self._world.resources[_id(ref)]["properties"]["provisioningState"] = "Deleting"
        return self._start("delete", ref)

    def _reset(self, verb: str, ref: ArmRef) -> Started:
        self._must_exist(ref)
        self._must_be_free(ref)
        self.resets[verb] = self.resets.get(verb, 0) + 1
        return self._start(verb, ref)

    def _must_exist(self, ref: ArmRef) -> None:
        if _id(ref) not in self._world.resources:
            raise ArmRejected(f"The Resource '{ref.kind.value}/{ref.name}' was not found.", 404, "ResourceNotFound")

    def _must_be_free(self, ref: ArmRef) -> None:
        mine = self._lock_set(_id(ref))
        for operation in self._world.operations.values():
            if operation.state is OperationState.RUNNING and self._lock_set(_id(operation.ref)) & mine:
                raise ArmBusy(
                    "Another operation on this or dependent resource is in progress.",
                    self.retry_after_s,
                    "AnotherOperationInProgress",
                    locked=True,
                )

    def _lock_set(self, resource: str) -> set[str]:
        """A gateway, its connections and their LNGs are one lock; anything else is its own."""
        locked = {resource}
        for identity, body in self._world.resources.items():
            if "/connections/" in identity:
                group = {identity, *references(body["properties"])}
                if group & locked:
                    locked |= {g for g in group if "/virtualnetworkgateways/" in g} | {identity}
        return locked

    def _start(self, verb: str, ref: ArmRef) -> Started:
        self._world.count += 1
        url = (
            f"{HOST}/subscriptions/{ref.subscription}/providers/Microsoft.Network/locations/westeurope"
            f"/operations/{self._world.count:08d}?api-version=2026-03-01"
        )
        ends = self._clock.now() + timedelta(seconds=self.takes_s[f"{verb} {ref.kind.value}"])
        operation = Running(url, ref, verb, ends, self.polls)
        for script in [s for s in self._scripts if s.verb == verb and not s.error and self._of(s, ref)][:1]:
            self._scripts.remove(script)
            operation.fail, operation.gone = script.operation_error, script.operation_gone
        self._world.operations[url] = operation
        return Started(url, self.retry_after_s)

    def _poll(self, url: str) -> Operation:
        operation = self._world.operations.get(url)
        if operation is None or operation.gone:
            return Operation(OperationState.GONE, 0)
        if operation.state is OperationState.RUNNING and operation.polls_left is not None:
            operation.polls_left -= 1
            if operation.polls_left <= 0:
                self._finish(operation)
        if operation.state is OperationState.RUNNING:
            return Operation(operation.state, self.retry_after_s)
        code, message = operation.fail or ("", "")
        return Operation(operation.state, 0, code, message)

    def _settle(self) -> None:
        for operation in self._world.operations.values():
            if operation.polls_left is None and operation.ends_at <= self._clock.now():
                self._finish(operation)

    def _finish(self, operation: Running) -> None:
        if operation.state is not OperationState.RUNNING:
            return
        operation.state = OperationState.FAILED if operation.fail else OperationState.SUCCEEDED
        identity = _id(operation.ref)
        body = self._world.resources[identity]
        body["etag"] = self._etag()
        if operation.verb == "delete" and not operation.fail:
            del self._world.resources[identity]
            self._world.shared_keys.pop(identity, None)
            return
        body["properties"]["provisioningState"] = "Failed" if operation.fail else "Succeeded"
        if not operation.fail:
            self._complete(operation.ref, body["properties"])

    def _complete(self, ref: ArmRef, properties: Json) -> None:
        if ref.kind is ArmKind.PUBLIC_IP and "ipAddress" not in properties:
            given = sum("ipAddress" in r["properties"] for r in self._world.resources.values())
            properties["ipAddress"] = f"203.0.113.{10 + given}"
        if ref.kind is ArmKind.GATEWAY and not properties["bgpSettings"]["asn"]:
            properties["bgpSettings"] = bgp_settings(properties, self._world.asns[_id(ref)], self._world.resources)

    def _etag(self) -> str:
        self._world.count += 1
        return f'W/"{self._world.count:08d}"'


def _must_be_here(url: str) -> None:
    parts = urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}" != HOST:
        raise PermanentError("The operation URL is not on the ARM host: it was not asked. Read the resource instead.")


def _id(ref: ArmRef) -> str:
    return ref.id().lower()
