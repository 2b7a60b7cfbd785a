"""Error answers as ARM and the network resource provider word them.

Codes and messages marked R were recorded or are quoted from public reports (reference azure-vpn.md, section 2); those
marked L are the lab's own wording for a refusal that Azure makes with a code that no source gave. A client may act on
the former, and should treat the latter as "400, read the message".
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


class ArmError(Exception):
    """An error answer. `nrp` errors carry an empty `details` list, errors of ARM's front end do not.

    `retry_after` is in wall seconds and becomes the Retry-After header.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: list[Json] | None = None,
        nrp: bool = True,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.nrp = nrp
        self.details = details or []
        self.retry_after = retry_after

    def error(self) -> Json:
        body: Json = {"code": self.code, "message": self.message}
        if self.nrp:
            body["details"] = self.details
        return body

    def body(self) -> Json:
        return {"error": self.error()}


def bad_request(code: str, message: str) -> ArmError:
    return ArmError(400, code, message)


def resource_not_found(type_: str, name: str, group: str) -> ArmError:
    """R: ARM's front end, for what was never there."""
    message = f"The Resource 'Microsoft.Network/{type_}/{name}' under resource group '{group}' was not found."
    return ArmError(404, "ResourceNotFound", message, nrp=False)


def not_found(resource_id: str) -> ArmError:
    """R: the resource provider, for children and for what was deleted."""
    return ArmError(404, "NotFound", f"Resource {resource_id} not found.")


def group_not_found(group: str) -> ArmError:
    return ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.", nrp=False)


def another_operation(operation_id: str) -> ArmError:
    """R: 409, one write at a time on a gateway and what depends on it."""
    message = (
        "Another operation on this or dependent resource is in progress. To retrieve status of the operation use "
        f"uri: {operation_id}."
    )
    return ArmError(409, "AnotherOperationInProgress", message)


def invalid_reference(target: str, source: str) -> ArmError:
    """R: a PUT that names a resource which is not there."""
    message = (
        f"Resource {target} referenced by resource {source} was not found. Please make sure that the referenced "
        "resource exists, and that both resources are in the same region."
    )
    return bad_request("InvalidResourceReference", message)


def reference_not_ready(target: str, state: str) -> ArmError:
    """R (terraform #7153): 429 although no quota is meant."""
    detail = {
        "code": "ReferencedResourceNotProvisioned",
        "message": f"Cannot proceed with operation since resource {target} is not in Succeeded state. "
        f"Resource is in {state} state and the last operation that updated/is updating the resource is PutOperation.",
    }
    return ArmError(429, "RetryableError", "A retryable error occured.", details=[detail])


def invalid_ip(address: object) -> ArmError:
    """R"""
    return bad_request("InvalidIpAddress", f"The IP Address {address} is invalid.")


def invalid_prefix(prefix: object, resource_id: str) -> ArmError:
    """R"""
    message = (
        f"Address prefix {prefix} of resource {resource_id} is not formatted correctly. It should follow CIDR "
        "notation, for example 10.0.0.0/24."
    )
    return bad_request("InvalidAddressPrefixFormat", message)
