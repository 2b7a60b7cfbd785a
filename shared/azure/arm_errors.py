"""What ARM's refusals mean here: wait (ArmBusy, locked or over quota), or a person is needed (ArmRejected).

The HTTP status does not say: the SDK calls every 409 "resource exists" although most are a lock, and a 429 is either a
quota or a lock. So the error's own code decides (azure-vpn.md, section 2, "Concurrency and errors").
"""

from __future__ import annotations

from typing import Any

from shared.azure.calls import retry_after
from shared.errors import ArmBusy, ArmRejected, HomelinkError

# Somebody works on the resource or on one it stands on; it passes by itself.
LOCKED = frozenset(
    {
        "AnotherOperationInProgress",
        "RetryableError",
        "RetryableErrorDueToAnotherOperation",
        "ReferencedResourceNotProvisioned",
        "OperationNotAllowedOnNonSucceededResource",
        "ConflictingConcurrentWriteNotAllowed",
    }
)
GONE = frozenset({"ResourceNotFound", "NotFound", "ResourceGroupNotFound"})
LOCKED_DELAY_S = 10.0
QUOTA_DELAY_S = 30.0
_LONGEST = 1000


def error_of(response: Any) -> tuple[str, str]:
    """ARM's (code, message): from {"error": {...}}, or from the bare {...} that some front ends send."""
    try:
        body = response.json()
    except (ValueError, UnicodeDecodeError):
        return "", ""
    return error_in(body)


def error_in(body: Any) -> tuple[str, str]:
    error = body.get("error", body) if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "", ""
    code, message = str(error.get("code") or "").strip(), str(error.get("message") or "").strip()
    details = error.get("details")
    if isinstance(details, list):  # "A retryable error occured." says nothing, its details do
        for detail in details:
            if isinstance(detail, dict) and detail.get("code"):
                message += f" [{str(detail['code']).strip()}: {str(detail.get('message') or '').strip()}]"
    return code, message[:_LONGEST]


def gone(response: Any) -> bool:
    """A 404 about the resource; one about the subscription, or from something that is not ARM, is an error."""
    return response.status_code == 404 and error_of(response)[0] in GONE


def failure(what: str, response: Any, secret: str = "") -> HomelinkError:
    """`secret` is cut out of what ARM says, should it quote the request."""
    status = response.status_code
    code, message = error_of(response)
    if secret:
        message = message.replace(secret, "***")
    text = f"{what}: ARM answered {status} {code or 'without a code'}: {message or 'no message'}"
    if code in LOCKED:
        return ArmBusy(text, retry_after(response.headers, LOCKED_DELAY_S), code, locked=True)
    if status == 429:
        return ArmBusy(text, retry_after(response.headers, QUOTA_DELAY_S), code or "TooManyRequests")
    if status == 408 or status >= 500:
        return ArmBusy(text, retry_after(response.headers, LOCKED_DELAY_S), code or str(status))
    return ArmRejected(text, status, code or str(status))


def of_azure(what: str, e: Any, secret: str = "") -> HomelinkError:
    """What the SDK raised: an answer of ARM, or a network or identity that failed."""
    response = getattr(e, "response", None)
    if response is not None:
        return failure(what, response, secret)
    return ArmBusy(
        f"{what}: {type(e).__name__}, ARM was not reached or its answer was lost. If it lasts, check the app's "
        "identity, its outbound network, and HOMELINK_ARM_URL.",
        LOCKED_DELAY_S,
        type(e).__name__,
    )
