"""What was asked of this agent and what became of it: one file per command, moved `pending -> current -> done`.

Intent before effect, result after; each step is durable before the next begins, so a kill between any two leaves
either the old state or the new one. `ls` shows where a command stands. What could not be read at all is in `corrupt/`.

    pending/  accepted, its effect not begun        current/  begun; begun again after a crash (or awaits confirmation)
    done/     with its result; `.acked` once the control plane has it        mark.json  what pruned files still say

The high-water mark and the per-Connection marks count every accepted command, whatever came of it: a command that is
older than what was accepted for the same purpose is superseded, whatever the order of arrival.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from agent.limits import MAX_CORRUPT, MAX_DONE, shorten
from agent.seams import Files
from shared.wire.commands import Apply, Command, Kind, parse_command
from shared.wire.decode import from_plain, to_plain
from shared.wire.errors import WireError
from shared.wire.reports import Result

Stage = Literal["intent", "awaiting"]
ACKED = ".acked"
TOLD = ".told"


@dataclass(frozen=True)
class Begun:
    """A command in `current/`. `awaiting`: its effect is in place and waits to be confirmed or rolled back."""

    command: Command
    stage: Stage


@dataclass
class _Marks:
    high_seq: int
    declared: dict[str, tuple[str, int, int]]  # connection -> connection_id, generation, seq of the newest apply/remove
    asked: dict[str, int]  # "connection kind" -> seq of the newest initiate/diagnose


class Journal:
    """`root` is a folder for one enrolment: another agent id has another sequence."""

    def __init__(self, files: Files, root: str) -> None:
        self._files = files
        self._root = root
        self._marks = _Marks(0, {}, {})
        self._pending: dict[str, Command] = {}
        self._current: dict[str, Begun] = {}
        self._done: dict[str, Result] = {}
        self._acked: set[str] = set()
        self._again: set[str] = set()
        self._load()

    # reading ---------------------------------------------------------------------------------------------------

    @property
    def high_seq(self) -> int:
        return self._marks.high_seq

    def pending(self) -> tuple[Command, ...]:
        return tuple(sorted(self._pending.values(), key=lambda c: c.seq))

    def current(self) -> tuple[Begun, ...]:
        return tuple(sorted(self._current.values(), key=lambda b: b.command.seq))

    def knows(self, command_id: str) -> bool:
        return command_id in self._pending or command_id in self._current or command_id in self._done

    def unreported(self) -> tuple[Result, ...]:
        """Results that the control plane has not acknowledged, and those it was asked for again by a duplicate."""
        wanted = [r for i, r in self._done.items() if i not in self._acked or i in self._again]
        return tuple(sorted(wanted, key=lambda r: r.seq))

    def superseded(self, command: Command) -> bool:
        connection, connection_id = subject(command)
        if command.kind in (Kind.APPLY, Kind.REMOVE):
            mark = self._marks.declared.get(connection)
            return mark is not None and _beats(mark, (connection_id, command.generation, command.seq))
        return self._marks.asked.get(f"{connection} {command.kind.value}", 0) > command.seq

    def refusals(self) -> tuple[str, ...]:
        """Why messages in `corrupt/` were refused, as far as the control plane was not told."""
        return tuple(reason for name, reason in self._corrupt() if not name.endswith(TOLD))

    # writing ---------------------------------------------------------------------------------------------------

    def accept(self, command: Command) -> None:
        """Durable on return; only then may the message be deleted. A known command asks for its result again."""
        if command.id in self._done:
            self._again.add(command.id)
        if self.knows(command.id):
            return
        self._files.write(self._path("pending", command), _encode(command=command.to_payload()))
        self._pending[command.id] = command
        self._count(command)

    def begin(self, command: Command) -> None:
        self._files.move(self._path("pending", command), self._path("current", command))
        self._current[command.id] = Begun(command, "intent")
        self._pending.pop(command.id, None)

    def await_confirmation(self, command: Command) -> None:
        self._files.write(self._path("current", command), _encode(command=command.to_payload(), stage="awaiting"))
        self._current[command.id] = Begun(command, "awaiting")

    def finish(self, command: Command, result: Result) -> None:
        record = _encode(connection_id=subject(command)[1], result=to_plain(result))
        self._files.write(self._path("done", command), record)
        self._done[command.id] = result
        for folder, where in (("pending", self._pending), ("current", self._current)):
            if command.id in where:
                self._files.delete(self._path(folder, command))
                where.pop(command.id)

    def acknowledge(self, ids: tuple[str, ...]) -> None:
        for command_id in ids:
            result = self._done.get(command_id)
            if result is None:
                continue
            self._again.discard(command_id)
            if command_id not in self._acked:
                path = f"{self._root}/done/{_name(result.seq, command_id)}"
                self._files.move(path, path + ACKED)
                self._acked.add(command_id)
        self._prune()

    def refuse(self, text: str, reason: str) -> None:
        """Keep a message that cannot be accepted where a person can see it. The same text is kept once."""
        name = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]
        known = [n for n, _ in self._corrupt()]
        if name in known or name + TOLD in known:
            return
        for old in known[: max(0, len(known) - MAX_CORRUPT + 1)]:
            self._files.delete(f"{self._root}/corrupt/{old}")
        kept = {"reason": shorten(reason), "message": text[:65_536]}
        self._files.write(f"{self._root}/corrupt/{name}", json.dumps(kept, indent=1).encode())

    def refusals_told(self, reasons: tuple[str, ...]) -> None:
        for name, reason in self._corrupt():
            if not name.endswith(TOLD) and reason in reasons:
                self._files.move(f"{self._root}/corrupt/{name}", f"{self._root}/corrupt/{name}{TOLD}")

    # inside ----------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        raw = self._json(f"{self._root}/mark.json")
        if raw is not None:
            declared = {k: (str(v[0]), int(v[1]), int(v[2])) for k, v in raw["declared"].items()}
            self._marks = _Marks(int(raw["high_seq"]), declared, {k: int(v) for k, v in raw["asked"].items()})
        for name in self._files.names(f"{self._root}/done"):
            record = self._json(f"{self._root}/done/{name}")
            if record is None:
                continue
            result = from_plain(Result, record["result"])
            self._done[result.command_id] = result
            if name.endswith(ACKED):
                self._acked.add(result.command_id)
            self._mark(result.seq, result.connection, str(record["connection_id"]), result.kind, result.generation)
        for folder in ("pending", "current"):
            for name in self._files.names(f"{self._root}/{folder}"):
                self._load_open(folder, name)

    def _load_open(self, folder: str, name: str) -> None:
        path = f"{self._root}/{folder}/{name}"
        record = self._json(path)
        if record is None:
            return
        command = parse_command(record["command"])
        if command.id in self._done:  # killed between the result and the end of `finish`
            self._files.delete(path)
            return
        if folder == "current":
            self._pending.pop(command.id, None)
            self._current[command.id] = Begun(command, "awaiting" if record.get("stage") == "awaiting" else "intent")
        else:
            self._pending[command.id] = command
        self._count(command)

    def _json(self, path: str) -> dict[str, Any] | None:
        """A journal file, or None if it is missing or damaged; a damaged one is set aside for a person."""
        data = self._files.read(path)
        if data is None:
            return None
        try:
            record: dict[str, Any] = json.loads(data)
            if "result" in record:
                from_plain(Result, record["result"])
                str(record["connection_id"])
            elif "command" in record:
                parse_command(record["command"])
            else:
                int(record["high_seq"]), dict(record["declared"]), dict(record["asked"])
            return record
        except (WireError, ValueError, KeyError, TypeError, AttributeError):
            self._files.move(path, f"{self._root}/corrupt/journal-{path.rsplit('/', 1)[-1]}")
            return None

    def _corrupt(self) -> list[tuple[str, str]]:
        found = []
        for name in self._files.names(f"{self._root}/corrupt"):
            reason = f"the agent's journal file {name} was damaged and is set aside"
            if not name.startswith("journal-"):
                try:
                    reason = str(json.loads(self._files.read(f"{self._root}/corrupt/{name}") or b"{}")["reason"])
                except (ValueError, KeyError, TypeError):
                    reason = "a refused message whose record is damaged"
            found.append((name, reason))
        return found

    def _count(self, command: Command) -> None:
        self._mark(command.seq, *subject(command), command.kind.value, command.generation)

    def _mark(self, seq: int, connection: str, connection_id: str, kind: str, generation: int) -> None:
        self._marks.high_seq = max(self._marks.high_seq, seq)
        if kind in (Kind.APPLY.value, Kind.REMOVE.value):
            new, old = (connection_id, generation, seq), self._marks.declared.get(connection)
            if old is None or _beats(new, old):
                self._marks.declared[connection] = new
        else:
            key = f"{connection} {kind}"
            self._marks.asked[key] = max(self._marks.asked.get(key, 0), seq)

    def _prune(self) -> None:
        newest = {mark[2] for mark in self._marks.declared.values()} | set(self._marks.asked.values())
        old = sorted((self._done[i].seq, i) for i in self._acked - self._again)[:-MAX_DONE]
        surplus = [(seq, i) for seq, i in old if seq not in newest]  # so a duplicate of a pruned one is always older
        if not surplus:
            return
        marks = {"high_seq": self._marks.high_seq, "declared": self._marks.declared, "asked": self._marks.asked}
        self._files.write(f"{self._root}/mark.json", _encode(**marks))
        for seq, command_id in surplus:
            self._files.delete(f"{self._root}/done/{_name(seq, command_id)}{ACKED}")
            self._done.pop(command_id)
            self._acked.discard(command_id)

    def _path(self, folder: str, command: Command) -> str:
        return f"{self._root}/{folder}/{_name(command.seq, command.id)}"


def subject(command: Command) -> tuple[str, str]:
    """The Connection that a command is about: its name and its id."""
    body = command.body.desired if isinstance(command.body, Apply) else command.body
    return body.connection, body.connection_id


def _beats(a: tuple[str, int, int], b: tuple[str, int, int]) -> bool:
    """Whether mark `a` is newer than `b`: by generation within one Connection, by sequence once it was made anew."""
    if a[0] == b[0]:
        return a[1:] > b[1:]
    return a[2] > b[2]


def _name(seq: int, command_id: str) -> str:
    return f"{seq:020d}-{command_id}.json"


def _encode(**fields: Any) -> bytes:
    return json.dumps(fields, sort_keys=True).encode()
