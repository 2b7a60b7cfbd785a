"""The world behind the seams, in memory: deterministic, no sockets, no wall clock. See tests/contracts."""

from tests.fakes.arm import FakeArm
from tests.fakes.clock import FakeClock, SeededRandom
from tests.fakes.queue import FakeMessage, FakeQueue
from tests.fakes.resolver import FakeResolver
from tests.fakes.store import FakeStore
from tests.fakes.vault import FakeVault

__all__ = [
    "FakeArm",
    "FakeClock",
    "FakeMessage",
    "FakeQueue",
    "FakeResolver",
    "FakeStore",
    "FakeVault",
    "SeededRandom",
]
