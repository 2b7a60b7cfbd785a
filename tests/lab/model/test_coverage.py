"""Both the control plane and the agent die at every call of every seam, before it and after its effect."""

from __future__ import annotations

from typing import Any

import pytest

import agent.seams
import shared.seams
from agent.firewall.contract import Firewall
from lab.model import sweep
from lab.model.control import FUNCTIONS
from lab.model.sweep import HOME

SEAMS: dict[tuple[str, str], Any] = {
    (FUNCTIONS, "arm"): shared.seams.Arm,
    (FUNCTIONS, "resolver"): shared.seams.Resolver,
    (FUNCTIONS, "store"): shared.seams.Store,
    (FUNCTIONS, "queue"): shared.seams.Queue,
    (FUNCTIONS, "vault"): shared.seams.Vault,
    (HOME, "http"): agent.seams.Http,
    (HOME, "files"): agent.seams.Files,
    (HOME, "firewall"): Firewall,
}
WITHOUT_EFFECT = {"Clock", "Random", "Log"}
"""Seams whose calls change nothing and cross nothing: to die there is to die between two other calls."""
STEPS = ("armed", "recorded", "applied", "confirmed", "initiated", "removed", "rolled back")
"""Of one change to the firewall: the agent may die between them."""
NEVER_CALLED = {
    (FUNCTIONS, "arm.reset_connection"): "no scenario comes to this rung",
    (FUNCTIONS, "arm.reset_gateway"): "no scenario comes to this rung",
    (HOME, "firewall.driver"): "a property, not a call",
}


def _verbs(protocol: Any) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_")]


CALLS = [(where, f"{seam}.{verb}") for (where, seam), protocol in SEAMS.items() for verb in _verbs(protocol)]
CALLS += [(HOME, f"firewall {step}") for step in STEPS]
STRUCK = [c for c in CALLS if c not in NEVER_CALLED]


def test_no_seam_is_left_out() -> None:
    protocols = {
        name
        for module in (shared.seams, agent.seams)
        for name, found in vars(module).items()
        if getattr(found, "_is_protocol", False) and found.__module__ == module.__name__
    }
    assert protocols == {p.__name__ for p in SEAMS.values()} - {"Firewall"} | WITHOUT_EFFECT


@pytest.mark.usefixtures("begun")
def test_the_scenarios_make_every_call_and_no_other() -> None:
    assert set(sweep.everything()) == set(STRUCK)


@pytest.mark.usefixtures("begun")
@pytest.mark.parametrize(("where", "call"), STRUCK, ids=[call for _, call in STRUCK])
def test_a_death_at_it_does_no_harm(where: str, call: str) -> None:
    for after in (False, True):
        point, outcome = sweep.death(where, call, after)
        assert outcome.violations == (), str(point)
