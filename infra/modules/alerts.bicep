// Who is told of what. People get every alert by e-mail. Homelink itself is told of its gateways only, by a webhook in the common
// alert schema: an alert there makes it look at once. With Entra the webhook is a secure one, and App Service refuses other
// callers. What each alert means and what to do: docs/operate.md.
param location string
param workspaceId string
param emails array
param hostName string
@secure()
param alertsKey string
param entraClientId string
param entraObjectId string

@description('Seconds without a heartbeat after which an agent is silent. They come every 30.')
param silentSeconds int = 900

var webhook = {
  name: 'homelink'
  serviceUri: 'https://${hostName}/api/alerts?code=${alertsKey}'
  useCommonAlertSchema: true
}
var secureWebhook = union(webhook, {
  useAadAuth: true
  objectId: entraObjectId
  identifierUri: 'api://${entraClientId}'
  tenantId: subscription().tenantId
})
var webhooks = entraClientId == '' ? [webhook] : [secureWebhook]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'homelink-people'
  location: 'global'
  properties: {
    groupShortName: 'hl-people'
    enabled: true
    emailReceivers: [for address in emails: {
      name: address
      emailAddress: address
      useCommonAlertSchema: true
    }]
  }
}

resource control 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'homelink-control'
  location: 'global'
  properties: {
    groupShortName: 'hl-control'
    enabled: true
    webhookReceivers: alertsKey == '' ? [] : webhooks
  }
}

// Every Event is a log line as well: JSON, whose message begins with the Event's reason.
var event = '''
AppTraces
| where Message contains '{0}: '
| extend Line = parse_json(Message)
| where tostring(Line.message) startswith '{0}: '
| summarize Times = count() by Connection = tostring(Line.connection)
'''

var rules = [
  {
    name: 'homelink-agent-silent'
    severity: 2
    description: 'The agent of a Connection has stopped reporting.'
    range: 'PT30M'
    query: format('''
AppMetrics
| where Name == 'homelink.agent.silence'
| where TimeGenerated > ago(10m)
| summarize Silent = min(Sum / ItemCount) by Connection = tostring(Properties.connection)
| where Silent > {0}
''', silentSeconds)
    dimension: 'Connection'
  }
  {
    name: 'homelink-no-steps'
    severity: 1
    description: 'The control plane stands still: nothing was reconciled for 15 minutes, and no other alert can be trusted.'
    range: 'P2D'
    query: '''
AppMetrics
| where Name == 'homelink.queue.age'
| summarize Last = max(TimeGenerated) by AppRoleName
| where Last < ago(15m)
'''
    dimension: 'AppRoleName'
  }
  {
    name: 'homelink-poison'
    severity: 2
    description: 'A message could not be processed five times and was set aside.'
    range: 'PT30M'
    query: '''
StorageQueueLogs
| where OperationName == 'PutMessage' and Uri contains '/reconcile-poison/'
| summarize Messages = count() by AccountName
'''
    dimension: 'AccountName'
  }
  {
    name: 'homelink-repairs-exhausted'
    severity: 1
    description: 'A tunnel is down and Homelink may do nothing more: a person is needed.'
    range: 'PT30M'
    query: format(event, 'RepairsExhausted')
    dimension: 'Connection'
  }
  {
    name: 'homelink-psk-old'
    severity: 3
    description: 'A pre-shared key is older than it should be.'
    range: 'PT30M'
    query: format(event, 'KeyOld')
    dimension: 'Connection'
  }
]

// The tables exist once something was written to them, hence no validation of the queries. Each ends in one row per thing that
// is wrong, without a time: a row that had one would count only in the window of its time.
resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: rule.name
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: rule.name
    description: rule.description
    severity: rule.severity
    enabled: true
    evaluationFrequency: 'PT15M'
    windowSize: 'PT30M'
    overrideQueryTimeRange: rule.range
    scopes: [
      workspaceId
    ]
    autoMitigate: true
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          dimensions: [
            {
              name: rule.dimension
              operator: 'Include'
              values: [
                '*'
              ]
            }
          ]
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        people.id
      ]
    }
  }
}]

output peopleId string = people.id
output gatewayActionGroupIds array = [
  people.id
  control.id
]
