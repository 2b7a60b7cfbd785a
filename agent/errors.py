"""The agent's one exception tree.

AgentError
 ├─ TemporaryError(delay_s)      try again after `delay_s`; nothing is broken
 │   ├─ Unreachable              no answer from the control plane or the queue (the text names the host, never a URL)
 │   ├─ DiskTrouble              the state directory cannot be written (full, read-only, gone)
 │   └─ FirewallBusy             charon, FRR or the firewall's API does not answer at this moment
 └─ PermanentError               will not go away by waiting; a person or a changed spec is needed
     ├─ ConfigError              agent.toml or the enrolment
     ├─ Rejected                 the control plane said no, with a status
     └─ FirewallError            the firewall refuses what was asked, in its own words

shared.wire has its own root (WireError) because the cloud ships it without this module.
"""

from __future__ import annotations


class AgentError(Exception):
    """Says what, where, and what to do next; never holds a secret."""


class TemporaryError(AgentError):
    def __init__(self, message: str, delay_s: float = 30.0) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class Unreachable(TemporaryError):
    pass


class DiskTrouble(TemporaryError):
    pass


class FirewallBusy(TemporaryError):
    pass


class PermanentError(AgentError):
    pass


class ConfigError(PermanentError):
    pass


class Rejected(PermanentError):
    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class FirewallError(PermanentError):
    pass
