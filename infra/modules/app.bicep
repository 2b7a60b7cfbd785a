// The Function app on Flex Consumption: every queue and timer function in its own instances, HTTP functions in one group.
// 512 MB are enough because the package brings its bytecode (infra/package.py): without it a first call needs 316 MB.
param location string
param token string
param controllerId string
param identityId string
param identityClientId string
param blobUrl string
param queueUrl string
param tableUrl string
param packages string
param vaultUrl string
param insightsName string
param entraClientId string
param userClientIds array
param appSettings object

// Azure Monitor's action groups call as this application.
var azureMonitorWebhook = '461e8683-5575-4561-ac7f-899cc907d62a'

// Agents prove themselves by their seal and the host's own management by its master key, so both pass without a token. Users
// have the function key; with userClientIds they need a token as well.
var openPaths = [
  '/admin/*'
  '/api/agents/*'
  '/api/openapi.json'
]
var userPaths = [
  '/api/audit/*'
  '/api/connections'
  '/api/connections/*'
  '/api/gateways'
  '/api/gateways/*'
  '/api/imports'
]

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: 'plan-${token}'
  location: location
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: 'func-${token}'
  location: location
  kind: 'functionapp,linux'
  tags: {
    'azd-service-name': 'api'
  }
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    siteConfig: {
      minTlsVersion: '1.2'
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packages
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        maximumInstanceCount: 40
        instanceMemoryMB: 512
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: app
  name: 'appsettings'
  properties: union({
    AzureWebJobsStorage__blobServiceUri: blobUrl
    AzureWebJobsStorage__queueServiceUri: queueUrl
    AzureWebJobsStorage__tableServiceUri: tableUrl
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    AZURE_CLIENT_ID: identityClientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    HOMELINK_CONTROLLER_ID: controllerId
    HOMELINK_VAULT_URL: vaultUrl
  }, appSettings)
}

resource noPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = {
  parent: app
  name: 'scm'
  properties: {
    allow: false
  }
}

resource authentication 'Microsoft.Web/sites/config@2024-04-01' = if (entraClientId != '') {
  parent: app
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'Return401'
      excludedPaths: empty(userClientIds) ? union(openPaths, userPaths) : openPaths
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: entraClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${subscription().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [
            entraClientId
            'api://${entraClientId}'
          ]
          defaultAuthorizationPolicy: {
            allowedApplications: union([
              azureMonitorWebhook
            ], userClientIds)
          }
        }
      }
    }
  }
}

output name string = app.name
output hostName string = app.properties.defaultHostName
