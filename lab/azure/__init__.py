"""A simulated Azure for unmodified SDKs: ARM for the VPN resources, Key Vault secrets, managed identity, and queues
with user delegation keys. Status codes, headers and bodies follow recordings; what carries packets is behind
`lab.dataplane`. Use `lab.azure.server.LabAzure` in a test and `python -m lab.azure` as a process.
"""
