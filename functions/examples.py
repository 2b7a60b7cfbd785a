"""One example of each document that a user sends, for the description of the API. They belong together: the Connection
`home` joins the Gateway `hub`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from functions.schemas import Key
from shared.domain.adoption import ImportRequest
from shared.domain.alert import AlertDocument
from shared.domain.spec import ConnectionDocument, GatewayDocument

NAMES = {"gateways": "hub", "connections": "home", "agents": "home-fw"}
BODIES: dict[type[BaseModel], dict[str, Any]] = {
    GatewayDocument: {
        "apiVersion": "homelink/v1",
        "kind": "Gateway",
        "metadata": {"name": "hub"},
        "spec": {
            "tenantId": "11111111-1111-1111-1111-111111111111",
            "subscriptionId": "22222222-2222-2222-2222-222222222222",
            "resourceGroup": "rg-homelink",
            "location": "westeurope",
            "virtualNetwork": {
                "name": "vnet-hub",
                "addressSpace": ["10.0.0.0/16"],
                "gatewaySubnet": "10.0.1.0/27",
            },
        },
    },
    ConnectionDocument: {
        "apiVersion": "homelink/v1",
        "kind": "Connection",
        "metadata": {"name": "home"},
        "spec": {
            "gateway": "hub",
            "agent": "home-fw",
            "fqdn": "home.example.net",
            "home": {"asn": 65010, "bgpAddress": "192.168.1.1", "prefixes": ["192.168.1.0/24"]},
        },
    },
    Key: {"value": "AKeyOfYourOwn0123456789"},
    ImportRequest: {
        "gateway": "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/rg-homelink"
        "/providers/Microsoft.Network/virtualNetworkGateways/vgw-old",
        "tenantId": "11111111-1111-1111-1111-111111111111",
        "agent": "home-fw",
    },
    AlertDocument: {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": "/subscriptions/22222222-2222-2222-2222-222222222222/providers"
                "/Microsoft.AlertsManagement/alerts/33333333-3333-3333-3333-333333333333",
                "alertRule": "tunnel-without-traffic",
                "severity": "Sev1",
                "signalType": "Metric",
                "monitorCondition": "Fired",
                "monitoringService": "Platform",
                "alertTargetIDs": [
                    "/subscriptions/22222222-2222-2222-2222-222222222222/resourcegroups/rg-homelink"
                    "/providers/microsoft.network/virtualnetworkgateways/hub"
                ],
                "firedDateTime": "2026-11-22T21:20:00.1234567Z",
                "description": "No traffic for five minutes",
            },
            "alertContext": {
                "condition": {
                    "allOf": [
                        {
                            "metricName": "TunnelAverageBandwidth",
                            "dimensions": [{"name": "ConnectionName", "value": "home"}],
                        }
                    ]
                }
            },
        },
    },
}
