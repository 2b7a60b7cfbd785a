"""The Queue in memory: delays, times to live and visibility by the given clock, and the receiving end.

`send`, `grant` and `remove` are the seam; the rest is what a trigger, or an agent with a SAS, does at the other end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from shared.azure.limits import check_message, check_queue
from shared.seams import Clock


@dataclass
class Message:
    number: int
    text: str
    visible_at: datetime
    expires_at: datetime
    dequeue_count: int = 0
    pop: int = field(default=0, repr=False)


@dataclass(frozen=True)
class Mishap:
    """What happens to the next message of a queue. `late`: it becomes visible `seconds` later, so overtaken; `twice`: a
    second time, so much later."""

    queue: str
    kind: Literal["lost", "twice", "late"]
    seconds: float = 0.0


class ModelQueue:
    """`granted` lists (queue, seconds) of every grant; `host` is where its URLs point. `before_put`, when set, is told
    (queue, text) of every message."""

    def __init__(self, clock: Clock, host: str = "queue.invalid") -> None:
        self._clock = clock
        self.host = host
        self._queues: dict[str, list[Message]] = {}
        self._sent = 0
        self._waiting: dict[str, asyncio.Event] = {}
        self._signed: dict[str, tuple[str, datetime]] = {}
        self.granted: list[tuple[str, float]] = []
        self.mishaps: list[Mishap] = []
        self.before_put: Callable[[str, str], None] | None = None

    async def send(self, queue: str, text: str, delay_s: float = 0, ttl_s: float | None = None) -> None:
        delay, ttl = check_message(queue, text, delay_s, ttl_s)
        delays = [delay]
        mishap = next((m for m in self.mishaps if m.queue == queue), None)
        if mishap is not None:
            self.mishaps.remove(mishap)
            later = delay + int(mishap.seconds)
            delays = {"lost": [], "twice": [delay, later], "late": [later]}[mishap.kind]
        self._put(queue, text, delays, ttl)

    def plant(self, queue: str, text: str) -> None:
        """What somebody else puts there; mishaps are for ours."""
        delay, ttl = check_message(queue, text, 0, None)
        self._put(queue, text, [delay], ttl)

    def _put(self, queue: str, text: str, delays: list[int], ttl: int) -> None:
        if self.before_put:
            self.before_put(queue, text)
        now = self._clock.now()
        messages = self._queues.setdefault(queue, [])
        for delay in delays:
            self._sent += 1
            shown, ends = now + timedelta(seconds=delay), now + timedelta(seconds=ttl)
            messages.append(Message(self._sent, text, shown, ends))
        self._wake(queue)

    async def grant(self, queue: str, valid_s: float) -> str:
        check_queue(queue)
        self._queues.setdefault(queue, [])
        self.granted.append((queue, valid_s))
        until = self._clock.now() + timedelta(seconds=valid_s)
        signature = f"fake{len(self.granted)}"
        self._signed[signature] = (queue, until)
        return f"https://{self.host}/{queue}?sp=p&se={until:%Y-%m-%dT%H:%M:%SZ}&sig={signature}"

    async def remove(self, queue: str) -> None:
        check_queue(queue)
        self._queues.pop(queue, None)

    # -- the receiving end

    def receive(self, queue: str, visibility_s: float = 600) -> Message | None:
        """The first visible message, hidden for `visibility_s`, or None."""
        now = self._clock.now()
        for message in self._alive(queue):
            if message.visible_at <= now:
                message.visible_at = now + timedelta(seconds=visibility_s)
                message.dequeue_count += 1
                message.pop += 1
                return replace(message)
        return None

    def delete(self, queue: str, message: Message) -> bool:
        """False when the message was received by somebody else since, or is gone."""
        found = self._same(queue, message)
        if found is not None:
            self._queues[queue].remove(found)
        return found is not None

    def show(self, queue: str, message: Message, after_s: float = 0.0) -> None:
        """Makes a received message visible again in so many seconds, if nobody else has it."""
        found = self._same(queue, message)
        if found is not None:
            found.visible_at = self._clock.now() + timedelta(seconds=after_s)
            self._wake(queue)

    async def wait_visible(self, queue: str) -> None:
        """Returns when there is something to receive."""
        while True:
            due, now = self.next_visible(queue), self._clock.now()
            if due is not None and due <= now:
                return
            event = self._waiting[queue] = asyncio.Event()
            try:
                async with asyncio.timeout(None if due is None else (due - now).total_seconds()):
                    await event.wait()
            except TimeoutError:
                continue

    def allows(self, queue: str, signature: str) -> bool:
        """Whether a SAS was granted for this queue and still holds."""
        granted, until = self._signed.get(signature, ("", self._clock.now()))
        return granted == queue and self._clock.now() < until

    def find(self, queue: str, number: int) -> Message | None:
        """A message as it now is, received or not."""
        return next((replace(m) for m in self._alive(queue) if m.number == number), None)

    # -- looking at it

    def texts(self, queue: str, visible_only: bool = False) -> list[str]:
        now = self._clock.now()
        return [m.text for m in self._alive(queue) if m.visible_at <= now or not visible_only]

    def names(self) -> list[str]:
        return sorted(self._queues)

    def next_visible(self, queue: str) -> datetime | None:
        """When the next message can be received (now or in the past: at once), None for an empty queue."""
        return min((m.visible_at for m in self._alive(queue)), default=None)

    def _same(self, queue: str, message: Message) -> Message | None:
        return next((m for m in self._alive(queue) if m.number == message.number and m.pop == message.pop), None)

    def _wake(self, queue: str) -> None:
        event = self._waiting.pop(queue, None)
        if event is not None:
            event.set()

    def _alive(self, queue: str) -> list[Message]:
        now = self._clock.now()
        messages = self._queues.get(queue)
        if not messages:
            return []
        messages[:] = [m for m in messages if m.expires_at > now]
        return sorted(messages, key=lambda m: (m.visible_at, m.number))
