// Homelink's control plane in one subscription: a Function app and what it stands on, its rights, and what watches it.
// The VPN gateway is not here: Homelink makes it, from your documents, in the resource groups that are named below.
targetScope = 'subscription'

@description('Names this environment, as in home. Part of the names of resources.')
@minLength(2)
@maxLength(16)
param environmentName string

@description('Region of everything here, as in westeurope. It must offer Flex Consumption.')
param location string

@description('Name of this control plane, once for ever: it marks what is ours in Azure and binds agents.')
param controllerId string = 'homelink-${environmentName}'

@description('Resource groups in which Homelink may make gateways, and nowhere else: spec.resourceGroup of your Gateways.')
param gatewayResourceGroups array = [
  'rg-homelink'
]

@description('false where these resource groups exist already: a deployment would take their tags away.')
param makeGatewayResourceGroups bool = true

@description('Who gets e-mail when something is wrong.')
param alertEmails array = []

@description('Application (client) id of the app registration that guards the alerts webhook (docs/deploy.md). Empty: no Entra.')
param entraClientId string

@description('Object id of that app registration (not of its service principal). Empty: no Entra.')
param entraObjectId string

@description('Applications with whose Entra tokens users call, beside the function key. Empty: the key is enough for users.')
param userClientIds array = []

@description('Function key of post_alert; exists once the code is deployed. Empty: Azure Monitor does not call Homelink yet.')
@secure()
param alertsKey string = ''

@description('Gateways to watch, once they exist: {name: its name in Azure, resourceGroup: spec.resourceGroup}.')
param gateways array = []

@description('A month may cost so much, in the currency of your bill, before e-mail is sent. 0: no budget.')
@minValue(0)
param budgetAmount int = 200

@description('First day of the month in which you deploy first, as in 2026-12-01. Azure does not let it be changed.')
param budgetStart string

@description('Days that logs are kept.')
@minValue(30)
@maxValue(730)
param logDays int = 30

@description('true: a deleted vault, and keys in it, cannot be purged for 90 days. Cannot be taken back.')
param purgeProtection bool = false

@description('Further app settings, as in docs/reference.md: {HOMELINK_EVENTS_DAYS: \'90\'}.')
param appSettings object = {}

var token = uniqueString(subscription().id, environmentName, location)
var tags = {
  'azd-env-name': environmentName
}
var groupsToMake = makeGatewayResourceGroups ? gatewayResourceGroups : []

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}-control'
  location: location
  tags: tags
}

resource gatewayGroups 'Microsoft.Resources/resourceGroups@2024-03-01' = [for name in groupsToMake: {
  name: name
  location: location
}]

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    token: token
    logDays: logDays
  }
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    location: location
    token: token
    insightsName: monitoring.outputs.insightsName
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    location: location
    token: token
    principalId: identity.outputs.principalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    location: location
    token: token
    principalId: identity.outputs.principalId
    roleId: role.outputs.keysId
    purgeProtection: purgeProtection
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  params: {
    location: location
    token: token
    controllerId: controllerId
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    blobUrl: storage.outputs.blobUrl
    queueUrl: storage.outputs.queueUrl
    tableUrl: storage.outputs.tableUrl
    packages: storage.outputs.packages
    vaultUrl: vault.outputs.url
    insightsName: monitoring.outputs.insightsName
    entraClientId: entraClientId
    userClientIds: userClientIds
    appSettings: appSettings
  }
}

module role 'modules/role.bicep' = {
  name: 'homelink-role'
  params: {
    controllerId: controllerId
    resourceGroups: gatewayResourceGroups
    vaultGroup: group.name
  }
  dependsOn: [
    gatewayGroups
  ]
}

module rights 'modules/rights.bicep' = [for name in gatewayResourceGroups: {
  name: 'homelink-rights-${name}'
  scope: resourceGroup(name)
  params: {
    principalId: identity.outputs.principalId
    roleId: role.outputs.networkId
  }
}]

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    workspaceId: monitoring.outputs.workspaceId
    emails: alertEmails
    hostName: app.outputs.hostName
    alertsKey: alertsKey
    entraClientId: entraClientId
    entraObjectId: entraObjectId
  }
}

module gatewayAlerts 'modules/gateway-alerts.bicep' = [for gateway in gateways: {
  name: 'alerts-${gateway.name}'
  scope: resourceGroup(gateway.resourceGroup)
  params: {
    gatewayName: gateway.name
    workspaceId: monitoring.outputs.workspaceId
    actionGroupIds: alerts.outputs.gatewayActionGroupIds
  }
}]

module budget 'modules/budget.bicep' = if (budgetAmount > 0) {
  name: 'homelink-budget'
  params: {
    name: 'homelink-${environmentName}'
    amount: budgetAmount
    start: budgetStart
    resourceGroups: union(gatewayResourceGroups, [
      group.name
    ])
    emails: alertEmails
    actionGroupId: alerts.outputs.peopleId
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    workspaceId: monitoring.outputs.workspaceId
  }
}

output RESOURCE_GROUP string = group.name
output FUNCTION_APP string = app.outputs.name
output API string = 'https://${app.outputs.hostName}/api'
output VAULT string = vault.outputs.name
output IDENTITY_CLIENT_ID string = identity.outputs.clientId
