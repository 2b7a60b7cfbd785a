"""Small fakes for tests of one use case: time, ARM and DNS that a test moves by hand. Store, Queue and Vault are the
model world's (lab.model); see tests/contracts."""

from lab.model.chance import SeededRandom
from lab.model.queue import Message, ModelQueue
from lab.model.store import ModelStore
from lab.model.vault import ModelVault
from tests.fakes.arm import FakeArm
from tests.fakes.clock import FakeClock
from tests.fakes.resolver import FakeResolver

__all__ = [
    "FakeArm",
    "FakeClock",
    "FakeResolver",
    "Message",
    "ModelQueue",
    "ModelStore",
    "ModelVault",
    "SeededRandom",
]
