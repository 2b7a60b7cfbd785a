"""Polls against what ARM was recorded to answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.azure.arm_operations import asked, operation_of, started
from shared.errors import ArmBusy, ArmRejected
from shared.seams import Asked, BgpQuestion, Operation, OperationState

RECORDED = Path(__file__).parents[4] / "shared/data/azure/key_exchanges.json"
OPERATION = "https://arm.test/subscriptions/s/providers/Microsoft.Network/locations/westus2/operations/1?api-version=x"
RESULT = OPERATION.replace("/operations/", "/operationResults/")
RESOURCE = "https://arm.test/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/connections/c?api-version=x"


class Answer:
    """As much of an azure response as is read."""

    def __init__(self, status: int, body: Any = None, method: str = "GET", url: str = RESOURCE, **headers: str) -> None:
        from requests.structures import CaseInsensitiveDict

        self.status_code = status
        self.headers = CaseInsensitiveDict({k.replace("_", "-"): v for k, v in headers.items()})
        self.request = self
        self.method, self.url = method, url
        self._text = body if isinstance(body, str) else "" if body is None else json.dumps(body)

    def text(self) -> str:
        return self._text

    def json(self) -> Any:
        return json.loads(self._text)


def test_a_start_names_its_operation() -> None:
    both = Answer(202, method="DELETE", Location=RESULT, Azure_AsyncOperation=OPERATION, Retry_After="10")
    assert (started(both).operation_url, started(both).retry_after_s) == (OPERATION, 10)
    only = Answer(202, method="POST", Location=RESULT)
    assert (started(only).operation_url, started(only).retry_after_s) == (RESULT, 10)
    assert started(Answer(202, method="POST", Location=RESULT, Retry_After="0")).retry_after_s == 1


def test_a_put_without_an_operation_is_followed_on_the_resource() -> None:
    updating = {"properties": {"provisioningState": "Updating"}}
    assert started(Answer(200, updating, method="PUT")).operation_url == RESOURCE
    assert started(Answer(200, {"properties": {"provisioningState": "Succeeded"}}, method="PUT")).operation_url is None
    assert operation_of(RESOURCE, Answer(200, updating)).state is OperationState.RUNNING
    failed = {"properties": {"provisioningState": "Failed"}}
    assert operation_of(RESOURCE, Answer(200, failed)) == Operation(OperationState.FAILED, 0, "Failed", "")


@pytest.mark.parametrize("state", ["InProgress", "Accepted", "Running", "Updating"])
def test_a_running_operation(state: str) -> None:
    assert operation_of(OPERATION, Answer(200, {"status": state}, Retry_After="10")) == Operation(
        OperationState.RUNNING, 10
    )


def test_a_location_runs_until_it_gives_its_result() -> None:
    assert operation_of(RESULT, Answer(202, Retry_After="7")) == Operation(OperationState.RUNNING, 7)
    done = Operation(OperationState.SUCCEEDED, 0)
    assert operation_of(RESULT, Answer(200)) == done
    assert operation_of(RESULT, Answer(204)) == done
    gateway = {"properties": {"provisioningState": "Updating"}}
    assert operation_of(RESULT, Answer(200, gateway)) == done
    refused = {"error": {"code": "InvalidIpAddress", "message": "no"}}
    assert operation_of(RESULT, Answer(400, refused)) == Operation(OperationState.FAILED, 0, "InvalidIpAddress", "no")


def test_a_failure_is_told_with_its_details() -> None:
    body = {
        "status": "Failed",
        "error": {"code": " InternalError", "message": " Bad.", "details": [{"code": "X", "message": "y"}]},
    }
    assert operation_of(OPERATION, Answer(200, body)) == Operation(
        OperationState.FAILED, 0, "InternalError", "Bad. [X: y]"
    )
    assert operation_of(OPERATION, Answer(200, {"status": "Canceled"})).code == "Canceled"


def test_a_poll_that_fails_says_nothing_of_the_operation() -> None:
    assert operation_of(OPERATION, Answer(404, {"error": {"code": "NotFound"}})).state is OperationState.GONE
    with pytest.raises(ArmBusy) as busy:
        operation_of(OPERATION, Answer(429, {"error": {"code": "TooManyRequests"}}, Retry_After="17"))
    assert (busy.value.delay_s, busy.value.locked) == (17, False)
    with pytest.raises(ArmBusy):
        operation_of(OPERATION, Answer(503, "<html>"))
    with pytest.raises(ArmRejected):
        operation_of(OPERATION, Answer(401, {"error": {"code": "ExpiredAuthenticationToken"}}))


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded ARM exchanges are not beside this checkout")
def test_recorded_polls() -> None:
    seen: dict[OperationState, int] = {}
    for exchange in json.loads(RECORDED.read_text()):
        path = exchange["url"].partition("?")[0].lower()
        if exchange["method"] != "GET" or "/locations/" not in path or "/operation" not in path:
            continue
        headers = {k.replace("-", "_"): v for k, v in exchange["headers"].items()}
        answer = Answer(exchange["status"], exchange["body"], url=exchange["url"], **headers)
        operation = operation_of("https://arm.test" + exchange["url"], answer)
        seen[operation.state] = seen.get(operation.state, 0) + 1
        assert (operation.code != "") == (operation.state is OperationState.FAILED)
        assert operation.code == operation.code.strip()
    assert seen[OperationState.SUCCEEDED] and seen[OperationState.RUNNING] and seen[OperationState.FAILED]


# questions of BGP


def test_a_question_is_followed_on_its_location() -> None:
    both = Answer(202, method="POST", Location=RESULT, Azure_AsyncOperation=OPERATION, Retry_After="10")
    assert asked(BgpQuestion.PEERS, both) == Asked(RESULT, 10)
    assert asked(BgpQuestion.PEERS, Answer(202), RESULT) == Asked(RESULT, 10), "a poll need not name it again"
    moved = OPERATION.replace("/operations/", "/operationResults2/")
    assert asked(BgpQuestion.PEERS, Answer(202, Location=moved, Retry_After="3"), RESULT) == Asked(moved, 3)
    with pytest.raises(ArmRejected, match="no Location"):
        asked(BgpQuestion.PEERS, Answer(202, method="POST", Azure_AsyncOperation=OPERATION))


def test_an_answer_may_come_at_once() -> None:
    assert asked(BgpQuestion.LEARNED, Answer(200, {"value": []}, method="POST")) == Asked(None, 0.0, ())


@pytest.mark.parametrize("status, body", [(200, ""), (204, None), (200, "<html>"), (200, {"value": [{"asn": 1}]})])
def test_an_answer_that_cannot_be_read_says_so(status: int, body: Any) -> None:
    with pytest.raises(ArmRejected, match="getBgpPeerStatus") as refused:
        asked(BgpQuestion.PEERS, Answer(status, body), RESULT)
    assert refused.value.code == "UnreadableAnswer"


def test_a_question_that_fails() -> None:
    for status, code in ((404, "NotFound"), (400, "GatewayDown")):
        with pytest.raises(ArmRejected) as refused:
            asked(BgpQuestion.PEERS, Answer(status, {"error": {"code": code, "message": "no"}}), RESULT)
        assert (refused.value.status, refused.value.code) == (status, code)
    for status, delay in ((429, 17), (500, 17)):
        with pytest.raises(ArmBusy) as busy:
            asked(BgpQuestion.PEERS, Answer(status, {"error": {"code": "X"}}, Retry_After="17"), RESULT)
        assert (busy.value.delay_s, busy.value.locked) == (delay, False)
