"""What crosses between control plane and agent: sealing, keys, commands, reports.

Standard library only, because the agent ships this package and may run on the firewall itself. The format is described,
with test vectors, in docs/wire.md. Version 1 is final: a change is a new version beside it.
"""
