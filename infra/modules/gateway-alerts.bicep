// What Azure itself says of one gateway. Azure Monitor takes no alert on gateways that do not exist yet, and none on several of
// them at once, so this is deployed again for each. Its finest grain is five minutes: heartbeats are faster, and these
// are for a home whose agent is silent.
param gatewayName string
param workspaceId string
param actionGroupIds array

resource gateway 'Microsoft.Network/virtualNetworkGateways@2024-05-01' existing = {
  name: gatewayName
}

var rules = [
  {
    name: 'tunnel-bandwidth'
    description: 'A tunnel carries nothing, not even BGP: it is down.'
    metric: 'TunnelAverageBandwidth'
    dimension: 'ConnectionName'
  }
  {
    name: 'bgp-peer'
    description: 'A BGP session of the gateway is down.'
    metric: 'BgpPeerStatus'
    dimension: 'BgpPeerAddress'
  }
]

resource alerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [for rule in rules: {
  name: 'homelink-${gatewayName}-${rule.name}'
  location: 'global'
  properties: {
    description: rule.description
    severity: 2
    enabled: true
    scopes: [
      gateway.id
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: rule.name
          metricNamespace: 'Microsoft.Network/virtualNetworkGateways'
          metricName: rule.metric
          timeAggregation: 'Average'
          operator: 'LessThan'
          threshold: 1
          dimensions: [
            {
              name: rule.dimension
              operator: 'Include'
              values: [
                '*'
              ]
            }
          ]
        }
      ]
    }
    actions: [for id in actionGroupIds: {
      actionGroupId: id
    }]
  }
}]

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'homelink'
  scope: gateway
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'GatewayDiagnosticLog'
        enabled: true
      }
      {
        category: 'TunnelDiagnosticLog'
        enabled: true
      }
      {
        category: 'RouteDiagnosticLog'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}
