"""Asks Azure's gateway what its BGP says of one Connection, without waiting for the answer.

The three questions are long-running operations of seconds: they are started, their URLs are stored, and whoever asks
again polls each once. They are asked on demand only, never by a step, at most once in DIAGNOSE_FRESH_S: each counts as
a write against ARM's quota. What was learned of other homes on the gateway is not kept.

The row is history to the unit (its key says so): no step reads it, and no lease is needed. Two who ask at once may both
start; the later row wins, and the other's operations end unread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain import limits
from shared.domain.arm import ArmKind, ArmRef
from shared.domain.bgp import AzureBgp, BgpQuestion, answered
from shared.domain.model import Model
from shared.domain.plan import is_settled
from shared.errors import ArmBusy, PermanentError
from shared.seams import Asked, Json, Write, WriteKind

from .events import HISTORY
from .services import UNITS, Services

BGP = HISTORY + "bgp:"


class BgpRow(Model):
    """`urls`: of the questions that are not answered yet, not to be polled before `not_before`. `trouble`: of those
    that never will be."""

    told: AzureBgp
    urls: dict[BgpQuestion, str]
    not_before: datetime
    trouble: str = ""


@dataclass(frozen=True)
class Told:
    """`view`: what is known by now; None: nothing that still counts. `pending`: an answer is on its way."""

    view: AzureBgp | None = None
    pending: bool = False
    note: str = "the gateway was not asked"


class AskAzure:
    def __init__(self, services: Services) -> None:
        self._s = services

    async def known(self, unit: str, connection: str) -> Told:
        """From what is stored."""
        row = await self._load(unit, connection)
        return Told() if row is None else self._told(row)

    async def ask(self, unit: str, connection: str, gateway: ArmRef, mine: Mapping[ArmKind, Json | None]) -> Told:
        """Polls what is on its way, or asks unless the last answer is young. `mine`: the Connection's resources as just
        read. Never raises for what ARM answers."""
        row, now = await self._load(unit, connection), self._s.now()
        age = None if row is None else now - row.told.asked
        if row is not None and age is not None and row.urls and age <= timedelta(seconds=limits.DIAGNOSE_TTL_S):
            if now < row.not_before:
                return self._told(row)
            row = await self._poll(row)
        elif row is None or age is None or age > timedelta(seconds=limits.DIAGNOSE_FRESH_S):
            home = _neighbour(mine)
            if home is None:
                return Told(note="the gateway was not asked: it, or the connection, is not ready or has no BGP")
            row = await self._start(gateway, home)
        else:
            return self._told(row)
        data = row.model_dump(mode="json")
        await self._s.store.transact(UNITS, unit, [Write(WriteKind.UPSERT, BGP + connection, data)])
        return self._told(row)

    async def _load(self, unit: str, connection: str) -> BgpRow | None:
        """None, too, when it is too old to count."""
        stored = await self._s.store.get(UNITS, unit, BGP + connection)
        row = None if stored is None else BgpRow.model_validate(stored.data)
        known = timedelta(seconds=limits.DIAGNOSE_KNOWN_S)
        return row if row is not None and self._s.now() - row.told.asked <= known else None

    def _told(self, row: BgpRow) -> Told:
        late = self._s.now() - row.told.asked > timedelta(seconds=limits.DIAGNOSE_TTL_S)
        nothing = row.told.peers is None and row.told.learned is None and row.told.advertised is None
        pending = bool(row.urls) and not late
        note = row.trouble or ("asked, and not answered" if row.urls else "")
        return Told(None if nothing else row.told, pending, note)

    async def _start(self, gateway: ArmRef, home: str) -> BgpRow:
        now, arm = self._s.now(), self._s.arm
        row = BgpRow(told=AzureBgp(asked=now, at=now, home=home), urls={}, not_before=now)
        return await self._outcomes(row, {q: arm.ask_bgp(gateway, q, home) for q in BgpQuestion})

    async def _poll(self, row: BgpRow) -> BgpRow:
        return await self._outcomes(row, {q: self._s.arm.bgp_answer(q, url) for q, url in row.urls.items()})

    async def _outcomes(self, row: BgpRow, calls: Mapping[BgpQuestion, Awaitable[Asked]]) -> BgpRow:
        """The row after these calls, of which each counts for itself."""
        outcomes = await asyncio.gather(*(_outcome(c) for c in calls.values()))
        now, urls, told, trouble, wait = self._s.now(), dict(row.urls), row.told, [row.trouble], 0.0
        for question, outcome in zip(calls, outcomes, strict=True):
            if isinstance(outcome, ArmBusy):
                wait = max(wait, outcome.delay_s)
                trouble += [] if question in urls else [str(outcome)]  # it was not even asked
            elif isinstance(outcome, PermanentError):
                urls.pop(question, None)
                trouble.append(str(outcome))
            elif outcome.answer is None:
                urls[question] = outcome.operation_url or urls[question]
                wait = max(wait, outcome.retry_after_s)
            else:
                urls.pop(question, None)
                told = answered(told, question, outcome.answer, now)
        return BgpRow(
            told=told,
            urls=urls,
            not_before=now + timedelta(seconds=wait),
            trouble="; ".join(t for t in trouble if t),
        )


async def _outcome(call: Awaitable[Asked]) -> Asked | ArmBusy | PermanentError:
    try:
        return await call
    except (ArmBusy, PermanentError) as e:
        return e


def _neighbour(mine: Mapping[ArmKind, Json | None]) -> str | None:
    """The home's address in Azure's own BGP configuration; None while there is nobody, or nothing, to ask."""
    gateway, lng, link = (mine.get(k) for k in (ArmKind.GATEWAY, ArmKind.LOCAL_GATEWAY, ArmKind.CONNECTION))
    if not all(r is not None and is_settled(r) for r in (gateway, lng, link)):
        return None
    enabled = ((link or {}).get("properties") or {}).get("enableBgp")
    bgp = ((lng or {}).get("properties") or {}).get("bgpSettings") or {}
    return str(bgp.get("bgpPeeringAddress") or "") or None if enabled else None
