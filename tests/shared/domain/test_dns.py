"""What of a DNS view may be believed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.dns import ONLY_IPV6, DnsFault, DnsView

A, B = "198.51.100.23", "198.51.100.77"
Answers = tuple[tuple[str, ...] | None, ...]


def view(authoritative: Answers, recursive: Answers = ()) -> DnsView:
    one = {f"ns{i}": a for i, a in enumerate(authoritative)}
    return DnsView("home.test", one, {f"r{i}": a for i, a in enumerate(recursive)}, 60)


@pytest.mark.parametrize(
    ("answers", "agreed"),
    [
        (((A,),), A),
        (((A,), (A,)), A),
        (((A,), (B,)), None),
        (((A,), None), None),
        (((A,), (A,), None), A),
        (((A,), (A,), (B,)), A),
        (((A,), None, None), None),
        (((A, B),), None),
        (((A, B), (A, B)), None),
        (((),), None),
        ((None,), None),
        ((), None),
    ],
)
def test_more_than_half_of_all_servers(answers: Answers, agreed: str | None) -> None:
    assert view(answers).agreed() == agreed


@pytest.mark.parametrize(
    ("authoritative", "recursive", "settled"),
    [
        (((A,),), ((A,),), True),
        (((A,), None), (None, (A,)), True),
        (((A,),), (), False),
        (((A,),), (None,), False),
        ((None,), ((A,),), False),
        (((A,),), ((B,),), False),
        (((A,),), ((A,), (B,)), False),
        (((A,),), ((),), False),
        (((A, B),), ((A,),), False),
        ((), (), False),
    ],
)
def test_settled_means_all_that_answer_and_one_of_each(
    authoritative: Answers, recursive: Answers, settled: bool
) -> None:
    assert view(authoritative, recursive).settled_on(A) is settled


FAULTS: list[tuple[Answers, str, DnsFault | None]] = [
    (((A,), (A,)), "", None),
    (((A,), (A,), None), "", None),
    ((), "no delegation found", DnsFault.NOT_RESOLVED),
    ((None, None), "SERVFAIL", DnsFault.NOT_RESOLVED),
    (((A,), (B,)), "", DnsFault.NOT_RESOLVED),
    (((A,), ()), "", DnsFault.NOT_RESOLVED),
    (((A, B), None), "", DnsFault.NOT_RESOLVED),
    (((A, B), (A, B)), "", DnsFault.SEVERAL_ADDRESSES),
    (((A, B), (A, B), (A,)), "", DnsFault.SEVERAL_ADDRESSES),
    (((), ()), "NXDOMAIN", DnsFault.NO_ADDRESS),
    (((),), "no A record", DnsFault.NO_ADDRESS),
    (((), ()), ONLY_IPV6, DnsFault.IPV6_ONLY),
    ((("192.168.178.2",),), "", DnsFault.PRIVATE_ADDRESS),
    ((("10.0.0.1",),), "", DnsFault.PRIVATE_ADDRESS),
    ((("127.0.0.1",),), "", DnsFault.PRIVATE_ADDRESS),
    ((("169.254.21.1",),), "", DnsFault.PRIVATE_ADDRESS),
    ((("0.0.0.0",),), "", DnsFault.PRIVATE_ADDRESS),
    ((("100.64.0.1",),), "", DnsFault.CGNAT),
    ((("100.127.255.255",),), "", DnsFault.CGNAT),
    ((("100.128.0.0",),), "", None),
]


@pytest.mark.parametrize(("answers", "note", "fault"), FAULTS)
def test_why_a_name_does_not_lead_home(answers: Answers, note: str, fault: DnsFault | None) -> None:
    assert replace(view(answers), note=note).fault() is fault


def test_every_fault_is_tested() -> None:
    assert {f for _, _, f in FAULTS} == {None, *DnsFault}
