"""What of a DNS view may be believed."""

from __future__ import annotations

import pytest

from shared.domain.dns import DnsView

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
