"""docs/wire.md's test vectors are what the code computes."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

from shared.wire.commands import Kind, Target, parse_command
from shared.wire.keys import Purpose, derive, enrolled_secret
from shared.wire.seal import seal, unseal
from shared.wire.ulid import ulid

DOC = Path(__file__).parents[3] / "docs" / "wire.md"


def vectors() -> dict[str, str]:
    return dict(re.findall(r"^    (\w+) +(\S+)$", DOC.read_text().split("## Test vectors")[1], re.MULTILINE))


def test_the_documents_vectors_hold() -> None:
    v = vectors()
    secret = enrolled_secret(v["token"], v["nonce"], v["agent"])
    assert base64.urlsafe_b64encode(secret).rstrip(b"=").decode() == v["secret"]
    keys = {p: derive(secret, p, v["agent"], v["controller"]) for p in Purpose}
    assert {p.value: k.hex() for p, k in keys.items()} == {p.value: v[p.value] for p in Purpose}
    payload = json.loads(v["payload"])
    assert seal(keys[Purpose.COMMAND], Purpose.COMMAND, payload) == v["sealed"]
    assert unseal(keys[Purpose.COMMAND], Purpose.COMMAND, v["sealed"]) == payload
    command = parse_command(payload)
    assert (command.kind, command.body) == (Kind.INITIATE, Target("home", "01ARZ3NDEKTSV4RRFFQ69G5FAW"))
    assert ulid(1469918176.385, bytes(range(10))) == v["ulid"]
