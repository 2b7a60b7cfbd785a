"""The firewall as something that answers questions: takes a way in that works, keeps the PHP there, and calls it.

The PHP is uploaded once per version (its name is its hash) in pieces that the way can carry, checked and renamed into
place; a request goes the same way, in one command where it fits. Nothing uploaded is secret.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import zlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from agent.errors import FirewallBusy, FirewallError
from agent.firewall.pfsense.ways import NoWayIn, Ran, Way
from agent.limits import shorten
from agent.seams import Clock, Random

FOLDER = "/conf/homelink"
PHP = "/usr/local/bin/php"
MARK, ABSENT = "HOMELINK ", "HOMELINK-ABSENT"
TIMEOUT_S = 60.0
"""nginx on pfSense waits 180 s for PHP; an apply took 0.5 s on the machine where it was measured."""
RETRY_GONE_S, RETRY_REFUSED_S = 600.0, 3600.0
_BRACES = 6
"""Characters that are put around each command."""
_ROOM = 80
"""Characters of a command beside the piece that it carries and the file's name."""
_UNPACK = (
    '$f=$argv[1];file_put_contents("$f.new",gzuncompress(base64_decode(file_get_contents("$f.b64"))));'
    'if(hash_file("sha256","$f.new")!==$argv[2])exit(9);rename("$f.new",$f);unlink("$f.b64");'
)


@functools.cache
def script() -> bytes:
    """The parts of php/ as one file."""
    folder = resources.files(__package__) / "php"
    parts = sorted((p for p in folder.iterdir() if p.name.endswith(".php")), key=lambda p: p.name)
    texts = [p.read_text(encoding="utf-8").removeprefix("<?php\n") for p in parts]
    return ("<?php\n" + "\n".join(texts)).encode()


class Box:
    """`ways` in order of preference. A way that is not there is tried again after ten minutes, one that refuses our
    credential after an hour."""

    def __init__(self, ways: Sequence[Way], clock: Clock, random: Random) -> None:
        self._ways = ways
        self._clock = clock
        self._random = random
        self._closed: dict[str, tuple[float, str]] = {}
        self._path = f"{FOLDER}/agent-{hashlib.sha256(script()).hexdigest()[:16]}.php"
        self.used = ""
        """The way by which the last command went."""

    def closed(self) -> tuple[str, ...]:
        """Ways that were tried and are not open, and why."""
        return tuple(f"{name}: {why}" for name, (_, why) in sorted(self._closed.items()))

    def call(self, action: str, request: dict[str, Any], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """One action of the PHP. FirewallError: refused or failed, in the firewall's words; FirewallBusy: try again."""
        for _ in self._ways:
            try:
                return self._call(action, request, timeout_s)
            except NoWayIn:
                continue  # nothing was carried out; the next way begins anew
        self._open()
        raise FirewallBusy("the way into the firewall changed: tried again", 1)

    def _call(self, action: str, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        name = f"/tmp/homelink-{self._random.token(12).hex()}.json"  # noqa: S108  # a random name, and umask 077
        data = json.dumps(request, separators=(",", ":")).encode()
        check = f"[ -f {self._path} ] || {{ echo {ABSENT}; exit 0; }}"
        run = f"{PHP} -f {self._path} {action} {name}"
        small = f"{check}; umask 077; echo '{base64.b64encode(data).decode()}' | openssl base64 -d -A >{name}; {run}"
        for _ in range(2):
            if len(small) + _BRACES <= self._limit():
                ran = self._run(small, timeout_s)
            else:
                self._upload(name, data)
                ran = self._run(f"{check}; {run}", timeout_s)
            if ABSENT not in ran.out:
                return _answer(ran)
            self._must(f"umask 077; mkdir -p {FOLDER}; rm -f {FOLDER}/agent-* {name}")
            self._upload(self._path, script())
        raise FirewallError(
            f"{FOLDER} on the firewall keeps nothing that is written to it: is its disk full or read-only?"
        )

    def _upload(self, path: str, data: bytes) -> None:
        text = base64.b64encode(zlib.compress(data, 9)).decode()
        piece = self._limit() - len(path) - _ROOM
        for i in range(0, len(text), piece):
            arrow = ">>" if i else ">"
            self._must(f"umask 077; printf %s '{text[i : i + piece]}' {arrow} {path}.b64")
        self._must(f"umask 077; {PHP} -r '{_UNPACK}' {path} {hashlib.sha256(data).hexdigest()}")

    def _must(self, command: str) -> None:
        ran = self._run(command, TIMEOUT_S)
        if ran.code != 0:
            raise FirewallError(f"the firewall cannot store a file: {shorten(ran.out, 200) or f'status {ran.code}'}")

    def _limit(self) -> int:
        return self._open()[0].limit

    def _open(self) -> list[Way]:
        now = self._clock.monotonic()
        ways = [w for w in self._ways if self._closed.get(w.name, (0.0, ""))[0] <= now]
        if not ways:
            raise FirewallBusy("no way into the firewall: " + "; ".join(self.closed()), 60)
        return ways

    def _run(self, command: str, timeout_s: float) -> Ran:
        """The REST package appends ` 2>&1`, which binds to the last command only: hence the braces."""
        way = self._open()[0]
        try:
            ran = way.run(f"{{ {command}; }}", timeout_s)
        except NoWayIn as e:
            wait = RETRY_REFUSED_S if e.refused else RETRY_GONE_S
            self._closed[way.name] = (self._clock.monotonic() + wait, str(e))
            raise
        self.used = way.name
        self._closed.pop(way.name, None)
        return ran


def _answer(ran: Ran) -> dict[str, Any]:
    line = next((x for x in reversed(ran.out.splitlines()) if x.startswith(MARK)), None)
    if line is None:
        said = shorten(ran.out, 200)
        raise FirewallError(
            f"PHP on the firewall ended with status {ran.code} and no answer: {said or 'see its error log'}"
        )
    try:
        answer = json.loads(line.removeprefix(MARK))
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise FirewallError("the firewall's answer is cut off")
    if answer.get("ok") is True:
        return answer
    text = shorten(str(answer.get("error", "")), 400)
    if answer.get("kind") == "busy":
        raise FirewallBusy(f"{text}: tried again", 10)
    raise FirewallError(text)
