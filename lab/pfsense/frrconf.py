"""From one frr.conf to the next, as pfSense's frr-reload does: only what differs is taken away or entered.

Files are compared, not what runs, because FRR shows a configuration in other words than it was given. A changed line is
the old one taken away and the new one entered. Lines that bear on the daemons themselves (hostname, log, password) are
skipped.
"""

from __future__ import annotations

_SKIPPED = ("frr ", "hostname ", "password ", "log ", "service ", "line vty", "agentx", "!", "#", "exit")
_CONTEXTS = ("router bgp ", "route-map ")
Context = tuple[str, ...]


def parse(text: str) -> dict[Context, list[str]]:
    """Lines by the contexts they are in; () is the top."""
    found: dict[Context, list[str]] = {(): []}
    context: Context = ()
    for raw in text.splitlines():
        line = raw.strip()
        if line == "exit-address-family":
            context = context[:1]
        if not line or line.startswith(_SKIPPED):
            continue
        if line.startswith(_CONTEXTS):
            context = (line,)
        elif line.startswith("address-family "):
            context = (*context[:1], line)
        else:
            context = context if raw.startswith(" ") else ()
            found.setdefault(context, []).append(line)
            continue
        found.setdefault(context, [])
    return found


def changes(old: str, new: str) -> tuple[list[str], list[str]]:
    """Lines that take away and lines that enter. A failing line among the first is no harm: a neighbor takes its
    settings with it."""
    before, after = parse(old), parse(new)
    gone, come = [], []
    dropped = {c[0] for c in before if len(c) == 1 and c not in after}
    for context, lines in before.items():
        lost = [line for line in lines if line not in after.get(context, [])]
        if lost and not (context and context[0] in dropped):
            gone += [*context, *(_no(line) for line in lost), *("exit" for _ in context)]
    gone += [f"no {context}" for context in sorted(dropped)]
    for context, lines in after.items():
        fresh = [line for line in lines if line not in before.get(context, [])]
        if fresh or context not in before:
            come += [*context, *fresh, *("exit" for _ in context)]
    return gone, come


def _no(line: str) -> str:
    if line.startswith("no "):
        return line[3:]
    words = line.split()
    if words[:1] == ["neighbor"] and words[2:3] in (["description"], ["timers"], ["update-source"], ["maximum-prefix"]):
        return "no " + " ".join(words[:4] if words[2:4] == ["timers", "connect"] else words[:3])
    return f"no {line}"
