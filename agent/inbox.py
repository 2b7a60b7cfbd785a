"""From a message in the queue to a command in the journal.

Whatever lies in the queue is journalled, or kept in `corrupt/` with the reason, before it is deleted from the queue.
"""

from __future__ import annotations

from agent.identity import Identity
from agent.journal import Journal
from agent.mailbox import Mailbox, Message
from agent.seams import Log
from agent.validate import command_problems
from shared.wire.commands import Command, parse_command
from shared.wire.errors import Malformed, WireError
from shared.wire.keys import Purpose
from shared.wire.seal import unseal


class Inbox:
    def __init__(self, identity: Identity, mailbox: Mailbox, journal: Journal, log: Log) -> None:
        self._identity = identity
        self._key = identity.key(Purpose.COMMAND)
        self._mailbox = mailbox
        self._journal = journal
        self._log = log

    def collect(self) -> int:
        """Journal what waits in the queue; how many messages there were."""
        messages = self._mailbox.poll()
        for message in messages:
            self._take(message)
            self._mailbox.delete(message)
        return len(messages)

    def _take(self, message: Message) -> None:
        try:
            command = self._read(message.text)
        except WireError as e:
            self._log("warning", "message-refused", reason=str(e))
            self._journal.refuse(message.text, str(e))
            return
        self._log(
            "info", "command-accepted", id=command.id, seq=command.seq, kind=command.kind.value, trace=command.trace_id
        )
        self._journal.accept(command)

    def _read(self, text: str) -> Command:
        command = parse_command(unseal(self._key, Purpose.COMMAND, text))
        if command.audience != self._identity.agent:
            raise Malformed(f"command is for agent {command.audience[:40]!r}, not for this one")
        if command.controller != self._identity.controller:
            raise Malformed(f"command is from controller {command.controller[:40]!r}, which this agent is not bound to")
        problems = command_problems(command)
        if problems:
            raise Malformed(f"command {command.id[:40]!r}: " + "; ".join(problems))
        return command
