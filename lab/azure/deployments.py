"""Microsoft.Resources/deployments: what `az network vpn-connection create` uses in place of a PUT.

A deployment evaluates its template, PUTs the resources one after another (those that others depend on first) and waits
for each; every resource is then as if it had been PUT by itself. Parameters of a secure type are never answered.
Incremental mode only; nested templates, copy loops and conditions are refused rather than ignored.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import Any

from lab.azure import durations
from lab.azure.errors import ArmError, Json
from lab.azure.operations import Operation
from lab.azure.provider import Provider, Reply, World
from lab.azure.store import TYPES, Group, Resource, Target
from lab.azure.template import Expressions, Function, invalid_template

SECURE = ("securestring", "secureobject")
POLL = 1.0  # Azure seconds between two looks at a resource that is being created


@dataclass
class Deployment:
    """`shown` is the parameters without secure values; `plan` holds evaluated bodies and so may hold secrets."""

    id: str
    name: str
    group: str
    hash: str
    shown: Json
    plan: list[tuple[Target, Json]] = field(repr=False)
    outputs: Json = field(default_factory=dict, repr=False)
    state: str = "Accepted"
    error: ArmError | None = None
    resources: list[Resource] = field(default_factory=list)
    operation: Operation | None = None


class Deployments:
    """Deployments of resource groups."""

    def __init__(self, world: World, providers: dict[str, Provider], tenant: str) -> None:
        self._world = world
        self._store = world.store
        self._providers = providers
        self._tenant = tenant
        self._deployments: dict[str, Deployment] = {}

    def drop_group(self, group: str) -> None:
        """The group is gone and its deployments with it."""
        for key in [k for k, d in self._deployments.items() if d.group.lower() == group.lower()]:
            del self._deployments[key]

    async def handle(self, method: str, group: Group, rest: list[str], body: Json) -> Reply | None:
        """`rest` is the path behind `deployments`; None if there is no such thing."""
        if not rest:
            found = [d for d in self._deployments.values() if d.group.lower() == group.name.lower()]
            return Reply(200, {"value": [self._render(d) for d in found]}) if method == "GET" else None
        deployment_id = f"{group.id}/providers/Microsoft.Resources/deployments/{rest[0]}"
        deployment = self._deployments.get(deployment_id.lower())
        if len(rest) == 1 and method == "PUT":
            return self._put(deployment_id, rest[0], group, body)
        if len(rest) == 2 and method == "POST" and rest[1].lower() == "validate":
            checked = self._make(deployment_id, rest[0], group, body)
            checked.state = "Succeeded"
            return Reply(200, self._render(checked))
        if deployment is None:
            raise ArmError(404, "DeploymentNotFound", f"Deployment '{rest[0]}' could not be found.", nrp=False)
        if len(rest) == 1 and method == "GET":
            return Reply(200, self._render(deployment))
        if len(rest) == 1 and method == "HEAD":
            return Reply(204)
        if len(rest) == 1 and method == "DELETE":
            del self._deployments[deployment_id.lower()]
            return Reply(204)
        if len(rest) == 3 and method == "GET" and rest[1].lower() == "operationstatuses":
            return self._status(deployment, rest[2])
        if len(rest) == 2 and method == "GET" and rest[1].lower() == "operations":
            return Reply(200, {"value": [_operation_of(deployment, item) for item in deployment.resources]})
        return None

    def _put(self, deployment_id: str, name: str, group: Group, body: Json) -> Reply:
        existing = self._deployments.get(deployment_id.lower())
        if existing is not None and existing.operation is not None and existing.operation.running:
            message = f"Unable to edit or replace deployment '{name}': previous deployment is still active."
            raise ArmError(409, "DeploymentActive", message, nrp=False)
        deployment = self._make(deployment_id, name, group, body)
        self._deployments[deployment_id.lower()] = deployment
        result = Reply(200 if existing else 201, self._render(deployment))

        async def work() -> None:
            try:
                await self._run(deployment)
                deployment.outputs = self._outputs(body, group)
                deployment.state = "Succeeded"
            except ArmError as error:
                deployment.state, deployment.error = "Failed", _failed(error)
                raise deployment.error from None
            except Exception:
                deployment.state, deployment.error = (
                    "Failed",
                    _failed(ArmError(500, "InternalServerError", "An error occurred.")),
                )
                raise
            finally:
                deployment.plan = []

        deployment.operation = self._world.operations.start(
            "PUT", deployment_id, group.location, (), durations.DEPLOYMENT, work, retry_after=durations.RETRY_AFTER
        )
        deployment.state = "Running"
        status_path = f"{deployment_id}/operationStatuses/{deployment.operation.id}"
        return Reply(result.status, result.body, operation=deployment.operation, status_path=status_path)

    def _make(self, deployment_id: str, name: str, group: Group, body: Json) -> Deployment:
        properties = body.get("properties") or {}
        template = properties.get("template")
        if not isinstance(template, dict) or not isinstance(template.get("resources"), list):
            raise invalid_template("The lab deploys inline templates with a list of resources.", "InvalidTemplate")
        if str(properties.get("mode", "Incremental")).lower() != "incremental":
            raise invalid_template("The lab simulates deployment mode Incremental only.")
        expressions = self._expressions(template, properties, group)
        plan = [self._planned(item, expressions, group) for item in _ordered(template["resources"], expressions)]
        given = properties.get("parameters") or {}
        shown = {}
        for parameter, definition in (template.get("parameters") or {}).items():
            kind = str(definition.get("type"))
            shown[parameter] = {"type": kind[:1].upper() + kind[1:]}
            if kind.lower() not in SECURE:
                shown[parameter]["value"] = (given.get(parameter) or {}).get("value", definition.get("defaultValue"))
        digest = str(zlib.crc32(json.dumps(template, sort_keys=True).encode()))
        return Deployment(deployment_id, name, group.name, digest, shown, plan)

    def _expressions(self, template: Json, properties: Json, group: Group, reference: bool = False) -> Expressions:
        given = {str(name).lower(): value for name, value in (properties.get("parameters") or {}).items()}
        parameters = {}
        for name, definition in (template.get("parameters") or {}).items():
            found = given.pop(name.lower(), None)
            if isinstance(found, dict) and "value" in found:
                parameters[name] = found["value"]
            elif "defaultValue" in definition:
                parameters[name] = definition["defaultValue"]
            else:
                raise invalid_template(f"The value for the template parameter '{name}' is not provided.")
        if given:
            raise invalid_template(f"The template parameters '{', '.join(given)}' are not valid.")

        def resource_id(*parts: str) -> str:
            at = next(index for index, part in enumerate(parts) if "/" in part)
            kinds, names = parts[at].split("/"), parts[at + 1 :]
            where = f"/subscriptions/{parts[0] if at == 2 else self._store.subscription}/resourceGroups/"
            where += parts[at - 1] if at else group.name
            pairs = "".join(f"/{kind}/{name}" for kind, name in zip(kinds[1:], names, strict=True))
            return f"{where}/providers/{kinds[0]}{pairs}"

        def referenced(name: str, *_: str) -> Json:
            if not reference:
                raise invalid_template("The lab knows the function 'reference' in outputs only.")
            return self._reference(name, template, group)

        subscription = {
            "id": f"/subscriptions/{self._store.subscription}",
            "subscriptionId": self._store.subscription,
            "tenantId": self._tenant,
        }
        where = {"id": group.id, "name": group.name, "location": group.location, "tags": group.tags}
        functions: dict[str, Function] = {
            "resourceid": resource_id,
            "resourcegroup": lambda: where,
            "subscription": lambda: subscription,
            "reference": referenced,
        }
        return Expressions(parameters, template.get("variables") or {}, functions)

    def _planned(self, item: Json, expressions: Expressions, group: Group) -> tuple[Target, Json]:
        for word in ("copy", "condition", "resources"):
            if item.get(word):
                raise invalid_template(f"The lab does not simulate '{word}' of a template resource.")
        body: Json = expressions.value({k: v for k, v in item.items() if k not in ("dependsOn", "comments")})
        namespace, _, kind = str(body.get("type")).partition("/")
        if namespace.lower() != "microsoft.network" or kind.lower() not in TYPES:
            raise invalid_template(f"The resource type '{body.get('type')}' is not simulated by the lab.")
        kept = ("location", "tags", "sku", "zones", "properties")
        target = Target(group.name, TYPES[kind.lower()], str(body["name"]))
        return target, {name: body[name] for name in kept if body.get(name) is not None}

    async def _run(self, deployment: Deployment) -> None:
        for target, body in deployment.plan:
            reply = await self._providers[target.type].put(target, body)
            operation = reply.operation
            while operation is not None and operation.running:
                await self._world.clock.sleep(POLL)
            if operation is not None and operation.error is not None:
                raise operation.error
            resource_id = self._store.resource_id(target.group, target.type, target.name or "")
            resource = self._store.get(resource_id)
            if resource is not None:
                deployment.resources.append(resource)

    def _outputs(self, body: Json, group: Group) -> Json:
        properties = body["properties"]
        template = properties["template"]
        expressions = self._expressions(template, properties, group, reference=True)
        outputs = (template.get("outputs") or {}).items()
        return {
            name: {"type": str(o["type"]).capitalize(), "value": expressions.value(o["value"])} for name, o in outputs
        }

    def _reference(self, name: str, template: Json, group: Group) -> Json:
        """The `properties` of a resource, by id or by its name within the template."""
        candidates = [name] if name.startswith("/") else []
        for item in template["resources"]:
            if str(item.get("name")).lower() == name.lower():
                candidates.append(self._store.resource_id(group.name, item["type"].partition("/")[2], name))
        for candidate in candidates:
            resource = self._store.get(candidate)
            if resource is not None:
                provider = self._providers[resource.type]
                shown: Json = provider.wrap(resource, provider.render(resource))["properties"]
                return shown
        raise invalid_template(f"The template reference '{name}' is not valid: could not find the template resource.")

    def _status(self, deployment: Deployment, operation_id: str) -> Reply:
        operation = deployment.operation
        if operation is None or operation.id != operation_id.lower():
            raise ArmError(404, "OperationNotFound", f"Operation '{operation_id}' could not be found.", nrp=False)
        body: Json = {"status": deployment.state}
        if deployment.error is not None:
            body["error"] = deployment.error.error()
        return Reply(200, body, operation=operation if operation.running else None)

    def _render(self, deployment: Deployment) -> Json:
        properties: Json = {
            "templateHash": deployment.hash,
            "parameters": deployment.shown,
            "mode": "Incremental",
            "provisioningState": deployment.state,
            "timestamp": self._world.clock.now().isoformat(),
            "duration": "PT1S",
            "correlationId": self._store.new_id(),
            "providers": [],
            "dependencies": [],
        }
        if deployment.state == "Succeeded":
            properties["outputs"] = deployment.outputs
            properties["outputResources"] = [{"id": resource.id} for resource in deployment.resources]
        if deployment.error is not None:
            properties["error"] = deployment.error.error()
        return {
            "id": deployment.id,
            "name": deployment.name,
            "type": "Microsoft.Resources/deployments",
            "properties": properties,
        }


def _ordered(resources: list[Any], expressions: Expressions) -> list[Json]:
    """Resources behind those they depend on; a name or id in `dependsOn` that means nothing here is ignored."""
    names = [str(expressions.value(item.get("name"))).lower() for item in resources]
    ordered: list[Json] = []
    waiting = list(range(len(resources)))
    while waiting:
        free = []
        for index in waiting:
            wanted = [
                str(expressions.value(d)).lower().rpartition("/")[2] for d in resources[index].get("dependsOn") or []
            ]
            if not any(names[other] in wanted for other in waiting if other != index):
                free.append(index)
        if not free:
            raise invalid_template("Circular dependency detected on the template's resources.")
        ordered += [resources[index] for index in free]
        waiting = [index for index in waiting if index not in free]
    return ordered


def _failed(error: ArmError) -> ArmError:
    """R: the outer message is always the same, the cause is in the details."""
    message = (
        "At least one resource deployment operation failed. Please list deployment operations for details. Please see "
        "https://aka.ms/arm-deployment-operations for usage details."
    )
    return ArmError(409, "DeploymentFailed", message, details=[error.error()])


def _operation_of(deployment: Deployment, resource: Resource) -> Json:
    return {
        "id": f"{deployment.id}/operations/{resource.guid}",
        "operationId": resource.guid,
        "properties": {
            "provisioningOperation": "Create",
            "provisioningState": resource.state,
            "targetResource": {
                "id": resource.id,
                "resourceName": resource.name,
                "resourceType": f"Microsoft.Network/{resource.type}",
            },
        },
    }
