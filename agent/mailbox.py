"""The agent's command queue: Azure Storage's REST interface, the three calls that are needed.

The queue's URL holds a SAS. It lives in memory only, is never logged, and is renewed by the agent's key.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import quote
from xml.etree import ElementTree

from agent.errors import TemporaryError
from agent.limits import GRANT_MARGIN_S, HIDE_S, MAX_MESSAGES
from agent.seams import Clock, Http
from agent.servertime import ServerTime
from agent.uplink import Uplink
from shared.wire.reports import QueueGrant

_HEADERS = {"x-ms-version": "2021-12-02"}


@dataclass(frozen=True)
class Message:
    """`text` is the sealed command, or what lay there instead."""

    id: str
    receipt: str = field(repr=False)
    text: str


class Mailbox:
    def __init__(self, uplink: Uplink, http: Http, clock: Clock, server_time: ServerTime, secure: bool) -> None:
        self._uplink = uplink
        self._http = http
        self._clock = clock
        self._time = server_time
        self._secure = secure
        self._grant: QueueGrant | None = None

    def poll(self) -> tuple[Message, ...]:
        """At most 16 messages, hidden from the next poll for two minutes. Raises TemporaryError or Rejected."""
        query = f"numofmessages={MAX_MESSAGES}&visibilitytimeout={HIDE_S}"
        status, body = self._send("GET", "/messages", query)
        if status != 200:
            raise TemporaryError(f"queue: polling was answered with {status}")
        try:
            root = ElementTree.fromstring(body)  # noqa: S314 - expat refuses entity bombs, and the peer is our own queue
            return tuple(_message(m) for m in root.iter("QueueMessage"))
        except (ElementTree.ParseError, ValueError):
            raise TemporaryError("queue: the answer to a poll is not the XML of Azure Storage") from None

    def delete(self, message: Message) -> None:
        """A message that is gone already is fine."""
        status, _ = self._send(
            "DELETE", f"/messages/{quote(message.id, safe='')}", f"popreceipt={quote(message.receipt, safe='')}"
        )
        if status not in (200, 204, 400, 404):  # 400 PopReceiptMismatch: it came up again and will be a duplicate
            raise TemporaryError(f"queue: deleting a message was answered with {status}")

    def _send(self, method: str, path: str, query: str) -> tuple[int, bytes]:
        fresh = False
        if self._grant is None or self._expired(self._grant):
            self._renew()
            fresh = True
        reply = self._try(method, path, query)
        if reply[0] in (401, 403) and not fresh:
            self._renew()
            reply = self._try(method, path, query)
        if reply[0] in (401, 403):
            self._grant = None
            raise TemporaryError(f"queue: access is refused with {reply[0]} although it was just renewed", 60.0)
        return reply

    def _try(self, method: str, path: str, query: str) -> tuple[int, bytes]:
        grant = self._grant
        if grant is None:
            raise TemporaryError("queue: no access yet")
        base, _, sas = grant.url.partition("?")
        reply = self._http.send(method, f"{base.rstrip('/')}{path}?{query}&{sas}", _HEADERS, None)
        return reply.status, reply.body

    def _renew(self) -> None:
        self._grant = None
        grant = self._uplink.renew_queue()
        if not grant.url.startswith("https://") and (self._secure or not grant.url.startswith("http://")):
            raise TemporaryError("queue: the control plane granted an address that is not https: not used", 600.0)
        self._grant = grant

    def _expired(self, grant: QueueGrant) -> bool:
        now = self._time.now(self._clock.monotonic())
        return now is None or now > grant.expires - GRANT_MARGIN_S


def _message(element: ElementTree.Element) -> Message:
    message_id, receipt = element.findtext("MessageId"), element.findtext("PopReceipt")
    if not message_id or not receipt:
        raise ValueError
    raw = element.findtext("MessageText") or ""
    try:
        text = base64.b64decode(raw, validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = raw
    return Message(message_id, receipt, text)
