"""Events of Gateways and Connections: newest first, page by page."""

from __future__ import annotations

import re
from datetime import datetime

import azure.functions as func

from functions.web import answer, guarded, name_of, query
from shared.control.events import Asked, Page
from shared.domain import limits
from shared.domain.problem import InvalidInput, Problem
from shared.wire.ulid import is_ulid
from shared.wiring import app

blueprint = func.Blueprint()
KEY = func.AuthLevel.FUNCTION
RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


@blueprint.route("gateways/{name}/events", methods=["GET"], auth_level=KEY)
@guarded
async def get_gateway_events(req: func.HttpRequest) -> func.HttpResponse:
    """Its own and those of its Connections; after its end, what is left of them."""
    return _answer(await app().specs.gateway_events(name_of(req), _asked(req)))


@blueprint.route("connections/{name}/events", methods=["GET"], auth_level=KEY)
@guarded
async def get_connection_events(req: func.HttpRequest) -> func.HttpResponse:
    return _answer(await app().specs.connection_events(name_of(req), _asked(req)))


def _answer(page: Page) -> func.HttpResponse:
    return answer({"items": [e.model_dump(mode="json", by_alias=True) for e in page.items], "next": page.next})


def _asked(req: func.HttpRequest) -> Asked:
    """Raises InvalidInput with every wrong parameter."""
    problems: list[Problem] = []
    since, limit, after = query(req, "since"), query(req, "limit"), query(req, "next")
    at = None if since is None else _time(since)
    if since is not None and at is None:
        form = "Write it as in 2026-11-22T21:00:00Z, a + in the URL as %2B."
        problems.append(Problem("since", since, "since-form", "not an RFC 3339 time with its offset", form))
    size = limits.EVENT_PAGE
    count = size.default if limit is None else int(limit) if re.fullmatch("[0-9]{1,9}", limit) else 0
    if not size.least <= count <= size.most:
        bounds = f"Use {size.least} to {size.most}, or leave it out."
        problems.append(Problem("limit", limit, "limit-range", "not a number within its bounds", bounds))
    if after is not None and not is_ulid(after):
        problems.append(Problem("next", after, "next-form", "not from an answer", "Use what `next` said, as it is."))
    if problems:
        raise InvalidInput(problems)
    return Asked(at, count, after)


def _time(text: str) -> datetime | None:
    parts = RFC3339.fullmatch(text)
    if parts is None:
        return None
    day, minute, second, fraction, offset = parts.groups()
    second = "59" if second == "60" else second  # a leap second, which RFC 3339 has and datetime has not
    try:
        return datetime.fromisoformat(f"{day}T{minute}:{second}{fraction or ''}{offset.upper()}")
    except ValueError:
        return None
