"""The agent's way to the control plane: what a kept connection does when its NAT mapping is gone."""

from __future__ import annotations

from typing import Any

import pytest

from agent.errors import Unreachable
from lab.model import loop
from lab.model.agent import Internet
from lab.model.loop import synchronous

URL = "https://ctl.invalid/api/agents/a/heartbeat"


class Line:
    address: str | None = "198.51.100.20"
    line = 0


class Host:
    async def http(self, *_: object) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, b""


def test_a_kept_connection_ends_with_its_line_and_the_next_one_works() -> None:
    line, hosts = Line(), {"ctl.invalid": Host()}
    internet = Internet(line, hosts, {}, lambda: 0.01, lambda _where, _text: None)  # type: ignore[arg-type]

    async def send() -> Any:
        return (await synchronous(lambda: internet.send("POST", URL, {}, None))).status

    async def play() -> None:
        assert [await send(), await send()] == [200, 200]
        line.line += 1
        with pytest.raises(Unreachable, match="reset"):
            await send()
        assert await send() == 200
        line.line += 1
        internet.forget()  # another life of the agent knows no connection
        assert await send() == 200

    loop.run(play())
