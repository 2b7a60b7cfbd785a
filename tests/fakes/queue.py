"""The Queue in memory: delays, times to live and visibility by the test's clock, and the receiving end for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.azure.limits import check_message, check_queue
from shared.seams import Clock


@dataclass
class FakeMessage:
    number: int
    text: str
    visible_at: datetime
    expires_at: datetime
    dequeue_count: int = 0
    pop: int = field(default=0, repr=False)


class FakeQueue:
    """`send`, `grant` and `remove` are the seam; the rest is what a trigger or an agent would do at the other end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queues: dict[str, list[FakeMessage]] = {}
        self._sent = 0
        self.granted: list[tuple[str, float]] = []

    async def send(self, queue: str, text: str, delay_s: float = 0, ttl_s: float | None = None) -> None:
        delay, ttl = check_message(queue, text, delay_s, ttl_s)
        now = self._clock.now()
        self._sent += 1
        self._queues.setdefault(queue, []).append(
            FakeMessage(self._sent, text, now + timedelta(seconds=delay), now + timedelta(seconds=ttl))
        )

    async def grant(self, queue: str, valid_s: float) -> str:
        check_queue(queue)
        self._queues.setdefault(queue, [])
        self.granted.append((queue, valid_s))
        until = self._clock.now() + timedelta(seconds=valid_s)
        return f"https://queue.invalid/{queue}?sp=p&se={until:%Y-%m-%dT%H:%M:%SZ}&sig=fake{len(self.granted)}"

    async def remove(self, queue: str) -> None:
        check_queue(queue)
        self._queues.pop(queue, None)

    def receive(self, queue: str, visibility_s: float = 600) -> FakeMessage | None:
        """The first visible message, hidden for `visibility_s`, or None."""
        now = self._clock.now()
        for message in self._alive(queue):
            if message.visible_at <= now:
                message.visible_at = now + timedelta(seconds=visibility_s)
                message.dequeue_count += 1
                message.pop += 1
                return FakeMessage(**vars(message))
        return None

    def delete(self, queue: str, message: FakeMessage) -> bool:
        """False when the message was received by somebody else since, or is gone."""
        mine = [m for m in self._alive(queue) if m.number == message.number and m.pop == message.pop]
        for found in mine:
            self._queues[queue].remove(found)
        return bool(mine)

    def duplicate(self, queue: str, message: FakeMessage) -> None:
        """Makes a received message visible at once again, as after a crash of its handler."""
        for found in self._alive(queue):
            if found.number == message.number:
                found.visible_at = self._clock.now()

    def texts(self, queue: str, visible_only: bool = False) -> list[str]:
        now = self._clock.now()
        return [m.text for m in self._alive(queue) if m.visible_at <= now or not visible_only]

    def names(self) -> list[str]:
        return sorted(self._queues)

    def next_visible(self, queue: str) -> datetime | None:
        """When the next message can be received (now or in the past: at once), None for an empty queue."""
        return min((m.visible_at for m in self._alive(queue)), default=None)

    def _alive(self, queue: str) -> list[FakeMessage]:
        now = self._clock.now()
        if queue in self._queues:
            self._queues[queue] = [m for m in self._queues[queue] if m.expires_at > now]
        return sorted(self._queues.get(queue, []), key=lambda m: (m.visible_at, m.number))
