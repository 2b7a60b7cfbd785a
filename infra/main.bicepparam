// An example that works: for azd it reads azd's environment, for az the shell's. Edit what is yours.
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'home')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')

// spec.resourceGroup of your Gateways.
param gatewayResourceGroups = [
  'rg-homelink'
]
param alertEmails = [
  'you@example.net'
]
// The first day of this month.
param budgetStart = '2026-12-01'
param budgetAmount = 200

// From docs/deploy.md, step 2. Set them to nothing to do without Entra.
param entraClientId = readEnvironmentVariable('HOMELINK_ENTRA_CLIENT_ID')
param entraObjectId = readEnvironmentVariable('HOMELINK_ENTRA_OBJECT_ID')

// After the first deployment, step 4.
param alertsKey = readEnvironmentVariable('HOMELINK_ALERTS_KEY', '')

// Once the gateway exists, step 7: {name: 'hub', resourceGroup: 'rg-homelink'}
param gateways = []
