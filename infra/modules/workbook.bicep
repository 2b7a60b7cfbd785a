// The fleet on one page, in the workspace's Workbooks.
param location string
param workspaceId string

resource workbook 'Microsoft.Insights/workbooks@2022-04-01' = {
  name: guid(workspaceId, 'homelink-fleet')
  location: location
  kind: 'shared'
  properties: {
    displayName: 'Homelink fleet'
    category: 'workbook'
    sourceId: workspaceId
    version: '1.0'
    serializedData: loadTextContent('../workbook.json')
  }
}
