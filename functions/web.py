"""What every HTTP handler needs: documents in, JSON out, errors as problem details (RFC 9457)."""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import azure.functions as func

from functions.entered import entered
from shared import telemetry
from shared.domain.problem import InvalidInput, Problem, shown
from shared.domain.spec import NAME
from shared.errors import HomelinkError, NotConfigured, NotFound, Precondition, Refused, StoreConflict, TemporaryError
from shared.telemetry import Attr, SpanKind
from shared.wire.errors import BadSeal, WireError

log = logging.getLogger("homelink.http")
MAX_DOCUMENT = 256 * 1024
Handler = Callable[..., Awaitable[func.HttpResponse]]


def answer(body: Any, status: int = 200, **headers: str) -> func.HttpResponse:
    return func.HttpResponse(
        json.dumps(body, default=str), status_code=status, mimetype="application/json", headers=headers
    )


def problem(status: int, title: str, detail: str, problems: tuple[Problem, ...] = ()) -> func.HttpResponse:
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if problems:
        body["errors"] = [problem_entry(p) for p in problems]
    text = json.dumps(body, default=str)
    return func.HttpResponse(text, status_code=status, mimetype="application/problem+json")


def problem_entry(p: Problem) -> dict[str, Any]:
    """As schemas.ProblemEntry."""
    return {"path": p.path, "value": shown(p.value), "rule": p.rule, "message": p.message, "remedy": p.remedy}


def document(request: func.HttpRequest) -> Any:
    """The body as plain data, from JSON or YAML. Raises InvalidInput with the line of the mistake.

    JSON is almost YAML, but not in its tabs, its numbers like 1e4, and its pairs of surrogates: it has its own parser.
    """
    import yaml

    raw = request.get_body()
    if len(raw) > MAX_DOCUMENT:
        raise InvalidInput([_form(f"{len(raw)} bytes", f"larger than {MAX_DOCUMENT} bytes", "Send one document.")])
    try:
        text = raw.decode()
        with suppress(ValueError, RecursionError):
            return json.loads(text)
        return yaml.safe_load(text)
    except UnicodeDecodeError:
        raise InvalidInput([_form("bytes", "not UTF-8 text", "Save the file as UTF-8.")]) from None
    except (yaml.YAMLError, RecursionError, ValueError) as e:
        mark = getattr(e, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the document"
        what = getattr(e, "problem", None) or "cannot be read"
        raise InvalidInput([_form(where, f"not YAML or JSON: {what}", "Correct it there.")]) from None


def name_of(request: func.HttpRequest) -> str:
    """The {name} of the route. Raises InvalidInput."""
    name = request.route_params["name"]
    if not NAME.fullmatch(name):
        bad = Problem(
            "name", name, "name-form", "not a name", "Use 3 to 40 lower-case letters, digits, single hyphens."
        )
        raise InvalidInput([bad])
    return str(name)


def query(request: func.HttpRequest, name: str) -> str | None:
    """What stands behind `?name=`, None where it is not there.

    From the URL: the platform leaves out of `params` what is empty, and a `?plan=` of a script whose variable is empty
    must not pass for a PUT without conditions (Azure Functions host, GrpcMessageConversionExtensions.ToRpcHttp).
    """
    found = parse_qs(urlsplit(request.url).query, keep_blank_values=True).get(name)
    return None if found is None else ",".join(found)


def flag(request: func.HttpRequest, name: str) -> bool:
    """`?name=true` or `false`; false where it is not there. Raises InvalidInput for a word that would be guessed at."""
    given = query(request, name)
    if given not in (None, "true", "false"):
        raise InvalidInput([Problem(name, given, "flag-form", "neither true nor false", f"Write ?{name}=true.")])
    return given == "true"


def actor(request: func.HttpRequest) -> str:
    """Who asks, for the audit: App Service's authenticated principal, else the holder of a function key from where."""
    # Only App Service authentication takes that header away from callers who write it themselves.
    known = os.environ.get("WEBSITE_AUTH_ENABLED", "").lower() == "true"
    who = request.headers.get("X-MS-CLIENT-PRINCIPAL-NAME") if known else None
    return who[:200] if who else f"function key from {source_address(request) or 'an unknown address'}"


def _form(value: str, message: str, remedy: str) -> Problem:
    return Problem("$", value, "form", message, remedy)


def source_address(request: func.HttpRequest) -> str:
    """The caller's address as the platform saw it: the last entry of X-Forwarded-For; earlier ones are mere claims."""
    last = (request.headers.get("X-Forwarded-For") or "").split(",")[-1].strip()
    if last.startswith("["):  # IPv6 with or without a port
        last = last[1:].partition("]")[0]
    elif last.count(":") == 1:  # IPv4 with a port
        last = last.partition(":")[0]
    return last.lower().removeprefix("::ffff:")


def guarded(handler: Handler) -> Handler:
    """Turns the exception trees into answers. What is in none of them is a bug, and the host answers 500.

    The host reads names and types of the bindings from the wrapped signature and passes them by keyword.

    Each request is a span and its answer names the trace. A GET changes nothing, so it is routine.
    """

    async def answered(**bindings: Any) -> func.HttpResponse:
        try:
            return await handler(**bindings)
        except InvalidInput as e:
            return problem(422, "The document is not valid", f"{len(e.problems)} problems", e.problems)
        except NotFound as e:
            return problem(404, "Not found", str(e))
        except Precondition as e:
            return problem(e.status, "Precondition", str(e))
        except Refused as e:
            return problem(409, "Not possible now", str(e))
        except StoreConflict:
            return problem(
                409, "Changed meanwhile", "Somebody else wrote it at the same time: read it again, then repeat."
            )
        except BadSeal as e:
            return problem(401, "The seal does not fit", str(e))
        except WireError as e:
            return problem(400, "The message cannot be read", str(e))
        except TemporaryError as e:
            response = problem(503, "Try again", str(e))
            response.headers["Retry-After"] = str(max(1, round(e.delay_s)))
            return response
        except NotConfigured as e:
            return problem(500, "Homelink is not set up", str(e))
        except HomelinkError as e:
            return problem(502, "Azure or the vault refuses", str(e))

    @functools.wraps(handler)
    async def run(**bindings: Any) -> func.HttpResponse:
        request: func.HttpRequest = bindings["req"]
        name, given, routine = f"http {handler.__name__}", request.headers.get("traceparent"), request.method == "GET"
        with entered(name, SpanKind.SERVER, given, routine=routine):
            telemetry.mark(Attr.METHOD, request.method)
            response = await answered(**bindings)
            telemetry.mark(Attr.STATUS, response.status_code)
            if response.status_code >= 500:
                telemetry.failed(str(response.status_code))
            if (trace := telemetry.trace_id()) is not None:
                response.headers[telemetry.HEADER] = trace
            return response

    return run
