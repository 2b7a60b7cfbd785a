"""Taking over what a document adopts: the key moves into the vault, and an address that Azure names becomes a pin.

Both are done by the reconciler while the resources are being marked. The key goes from Azure into the vault within one
call and is seen by nothing but the vault and the rules for keys; it is never drawn anew, since the home's end has it
too. A local gateway that names an address and no FQDN is as a pin leaves it, and it becomes one: so nothing is written
at adoption, and the pin ends as any other does. Traded off: in Azure the two cannot be told apart.
"""

from __future__ import annotations

from shared.domain import plan, rules
from shared.domain.arm import ArmKind
from shared.errors import ArmBusy, ArmRejected

from .services import Services
from .unit import PinRow, Unit, psk_name


def note_pins(services: Services, unit: Unit, observed: plan.Observed) -> None:
    """Until the connection itself is marked, so that a step that dies in between forgets nothing."""
    for name, row in unit.connections.items():
        link = unit.links[name]
        if row.spec.adopt is None or row.deleting or link.pin is not None:
            continue
        refs = unit.refs(name)
        local, connection = observed.get(refs[ArmKind.LOCAL_GATEWAY]), observed.get(refs[ArmKind.CONNECTION])
        address = ((local or {}).get("properties") or {}).get("gatewayIpAddress")
        if address and connection is not None and plan.owner(connection) is None:
            pin = PinRow(address=address, since=services.now())
            unit.links[name] = link.model_copy(update={"pin": pin})


async def take_keys(services: Services, unit: Unit, observed: plan.Observed) -> dict[str, str]:
    """Returns of which Connections the key cannot be taken, and why. Raises what the vault raises."""
    troubles = {}
    for name, row in sorted(unit.connections.items()):
        link, ref = unit.links[name], unit.refs(name).get(ArmKind.CONNECTION)
        known = None not in (link.psk_version, link.azure_psk_version)
        found = observed.get(ref) if ref else None
        if found is not None and plan.owner(found) not in (None, services.controller):
            continue  # another controller was faster
        if row.spec.adopt is None or row.deleting or known or ref is None or not plan.is_settled(observed.get(ref)):
            continue
        try:
            await _take(services, unit, name)
        except (ArmBusy, ArmRejected) as e:
            troubles[name] = f"The key of connections/{ref.name} cannot be read: {e}"
    return troubles


async def _take(services: Services, unit: Unit, name: str) -> None:
    entry, ref = psk_name(unit.connections[name]), unit.refs(name)[ArmKind.CONNECTION]
    unusual = False

    async def put(value: str) -> str:
        nonlocal unusual
        unusual = bool(rules.psk_problems(value))
        return await services.vault.set(entry, value)

    secret = await services.vault.get(entry)
    if secret is None:
        version = await services.arm.move_shared_key(ref, put)
    elif await services.arm.has_shared_key(ref, secret.value):  # moved by a step that died, or put there by the user
        version, unusual = secret.version, bool(rules.psk_problems(secret.value))
    else:
        return
    update = {"psk_name": entry, "psk_version": version, "azure_psk_version": version}
    taken = {"psk_taken": version, "psk_unusual": unusual}
    unit.links[name] = unit.links[name].model_copy(update=update | taken)
