// Two roles. Network: what the control plane may do in the resource groups of its gateways, which is what shared/azure/arm.py
// calls and what Azure demands beside it (joining the gateway to its subnet and address). No listKeys, no packet capture, no
// rights over rights, no new resource groups: those are made by the deployment. Keys: what shared/azure/vault.py calls; the
// built-in Key Vault Secrets Officer could purge, too.
targetScope = 'subscription'

param controllerId string
param resourceGroups array
param vaultGroup string

resource network 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, controllerId)
  properties: {
    roleName: 'Homelink ${controllerId} ${uniqueString(subscription().id)}'
    description: 'VPN gateways, their networks, addresses and connections, for the control plane ${controllerId}.'
    type: 'CustomRole'
    assignableScopes: [for name in resourceGroups: '${subscription().id}/resourceGroups/${name}']
    permissions: [
      {
        actions: [
          'Microsoft.Resources/subscriptions/resourceGroups/read'
          'Microsoft.Network/locations/operations/read'
          'Microsoft.Network/locations/operationResults/read'
          'Microsoft.Network/virtualNetworks/read'
          'Microsoft.Network/virtualNetworks/write'
          'Microsoft.Network/virtualNetworks/delete'
          'Microsoft.Network/virtualNetworks/subnets/read'
          'Microsoft.Network/virtualNetworks/subnets/write'
          'Microsoft.Network/virtualNetworks/subnets/join/action'
          'Microsoft.Network/publicIPAddresses/read'
          'Microsoft.Network/publicIPAddresses/write'
          'Microsoft.Network/publicIPAddresses/delete'
          'Microsoft.Network/publicIPAddresses/join/action'
          'Microsoft.Network/virtualNetworkGateways/read'
          'Microsoft.Network/virtualNetworkGateways/write'
          'Microsoft.Network/virtualNetworkGateways/delete'
          'Microsoft.Network/virtualNetworkGateways/reset/action'
          'Microsoft.Network/virtualNetworkGateways/getbgppeerstatus/action'
          'Microsoft.Network/virtualNetworkGateways/getlearnedroutes/action'
          'Microsoft.Network/virtualNetworkGateways/getadvertisedroutes/action'
          'Microsoft.Network/localNetworkGateways/read'
          'Microsoft.Network/localNetworkGateways/write'
          'Microsoft.Network/localNetworkGateways/delete'
          'Microsoft.Network/connections/read'
          'Microsoft.Network/connections/write'
          'Microsoft.Network/connections/delete'
          'Microsoft.Network/connections/sharedKey/read'
          'Microsoft.Network/connections/sharedKey/write'
          'Microsoft.Network/connections/resetconnection/action'
        ]
      }
    ]
  }
}

resource keys 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(subscription().id, controllerId, 'keys')
  properties: {
    roleName: 'Homelink ${controllerId} ${uniqueString(subscription().id)}: keys'
    description: 'Secrets of the vault of the control plane ${controllerId}, without purging.'
    type: 'CustomRole'
    assignableScopes: [
      '${subscription().id}/resourceGroups/${vaultGroup}'
    ]
    permissions: [
      {
        actions: []
        dataActions: [
          'Microsoft.KeyVault/vaults/secrets/getSecret/action'
          'Microsoft.KeyVault/vaults/secrets/setSecret/action'
          'Microsoft.KeyVault/vaults/secrets/delete'
          'Microsoft.KeyVault/vaults/secrets/recover/action'
        ]
      }
    ]
  }
}

output networkId string = network.id
output keysId string = keys.id
