"""The REST front: against the recorded exchanges where they are, and what a client stumbles over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from lab.pfsense.twin import Twin
from tests.lab.pfsense.azure import PLAIN
from tests.lab.pfsense.transcripts import MISSING, Exchange, demo, scene

AES = {
    "encryption_algorithm_name": "aes256gcm",
    "encryption_algorithm_keylen": 128,
    "hash_algorithm": "sha384",
    "dhgroup": 14,
}
PHASE1: dict[str, Any] = {
    "iketype": "ikev2",
    "protocol": "inet",
    "interface": "wan",
    "remote_gateway": "203.0.113.10",
    "authentication_method": "pre_shared_key",
    "myid_type": "myaddress",
    "peerid_type": "peeraddress",
    "pre_shared_key": "SuperSecretPSK1!",
    "descr": "azure",
    "startaction": "start",
    "closeaction": "start",
    "encryption": [AES],
}
PHASE2: dict[str, Any] = {
    "ikeid": 1,
    "mode": "vti",
    "localid_type": "address",
    "localid_address": "10.0.1.29",
    "remoteid_type": "address",
    "remoteid_address": "10.0.1.30",
    "encryption_algorithm_option": [{"name": "aes256gcm", "keylen": 128}],
    "hash_algorithm_option": ["hmac_sha256"],
}
RULE: dict[str, Any] = {"type": "pass", "ipprotocol": "inet", "source": "any", "destination": "any"}


class Client:
    def __init__(self, fw: Twin) -> None:
        self.fw = fw

    def __call__(self, method: str, path: str, code: int = 200, **body: Any) -> Any:
        """The answer's `data`; for an error its `response_id`."""
        query, sent = (body, None) if method in ("GET", "DELETE") else (None, body)
        url, key = f"{self.fw.url}/api/v2{path}", {"X-API-Key": self.fw.key}
        answer = requests.request(method, url, headers=key, timeout=30, params=query, json=sent)
        said = answer.json()
        assert answer.status_code == said["code"] == code, said
        return said["data"] if code == 200 else said["response_id"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with Twin(tmp_path_factory.mktemp("fw"), PLAIN) as fw:
        yield fw


@pytest.fixture
def api(shared: Twin) -> Iterator[Client]:
    """One firewall for all tests of this module, each from the same configuration."""
    yield Client(shared)
    shared.path("/conf/config.xml").write_bytes(PLAIN.read_bytes())
    for leftover in ("/tmp/config.cache", "/var/run/ipsec.dirty", "/var/run/interfaces.dirty", "/var/run/filter.dirty"):
        shared.path(leftover).unlink(missing_ok=True)


def test_writes_wait_for_the_apply(api: Client) -> None:
    assert api("GET", "/vpn/ipsec/apply") == {"applied": True}
    api("POST", "/vpn/ipsec/phase1", **PHASE1)
    second = api("POST", "/vpn/ipsec/phase2", **PHASE2)
    assert (second["reqid"], second["lifetime"], second["natlocalid_type"]) == (1, 3600, None)
    assert "ipsec1" not in api.fw.kernel.interfaces
    assert api("GET", "/vpn/ipsec/apply") == {"applied": False}
    assert api("POST", "/vpn/ipsec/apply", **{"async": False}) == {"applied": False}  # what was before
    assert api("GET", "/vpn/ipsec/apply") == {"applied": True}
    assert api.fw.kernel.interfaces["ipsec1"].addresses == [("10.0.1.29", 30, "10.0.1.30")]
    assert [i["if"] for i in api("GET", "/interface/available_interfaces")] == ["ipsec1"]
    conn = api.fw.path("/var/etc/ipsec/swanctl.conf").read_text()
    assert "proposals = aes256gcm128-sha384-modp2048\n" in conn
    assert "remote_port = 500\n" in conn


def test_ids_are_indexes_and_shift(api: Client) -> None:
    for address in ("203.0.113.10", "203.0.113.11"):
        api("POST", "/vpn/ipsec/phase1", **{**PHASE1, "remote_gateway": address})
    assert [(p["id"], p["ikeid"]) for p in api("GET", "/vpn/ipsec/phase1s")] == [(0, 1), (1, 2)]
    assert [p["id"] for p in api("GET", "/vpn/ipsec/phase1s", remote_gateway__endswith=".11")] == [1]
    api("DELETE", "/vpn/ipsec/phase1", id=0)
    assert [(p["id"], p["ikeid"]) for p in api("GET", "/vpn/ipsec/phase1s")] == [(0, 2)]
    assert api("GET", "/vpn/ipsec/phase1", 404, id=1) == "MODEL_OBJECT_NOT_FOUND"
    assert api("GET", "/vpn/ipsec/phase1", 400) == "MODEL_REQUIRES_ID"


def test_unknown_fields_are_ignored_and_a_dry_run_writes_nothing(api: Client) -> None:
    before = api.fw.config()
    assert api("POST", "/vpn/ipsec/phase1", **PHASE1, dry_run=True, bogus=1)["ikeid"] == 1
    assert api.fw.config() == before
    answered = api("POST", "/vpn/ipsec/phase1", **PHASE1, bogus=1)
    assert "bogus" not in answered
    assert "pre_shared_key" not in answered
    assert api("PATCH", "/vpn/ipsec/phase1", id=0, descr="renamed", bogus=2)["descr"] == "renamed"
    assert "bogus" not in api.fw.config().decode()


@pytest.mark.parametrize(
    ("method", "path", "code", "body", "said"),
    [
        ("POST", "/vpn/ipsec/phase1", 400, {"iketype": "ikev3"}, "FIELD_INVALID_CHOICE"),
        ("POST", "/vpn/ipsec/phase1", 400, {}, "FIELD_IS_REQUIRED"),
        ("POST", "/vpn/ipsec/phase1", 400, {**PHASE1, "interface": "opt9"}, "FIELD_INVALID_CHOICE"),
        ("POST", "/vpn/ipsec/phase2", 400, PHASE2, "FOREIGN_MODEL_FIELD_VALUE_NOT_FOUND"),
        ("POST", "/firewall/rule", 400, {**RULE, "interface": ["ipsec"]}, "FIELD_INVALID_CHOICE"),
        ("PUT", "/vpn/ipsec/apply", 405, {}, "ENDPOINT_METHOD_NOT_ALLOWED"),
        ("POST", "/diagnostics/command_prompt", 400, {"command": "x" * 1025}, "LENGTH_VALIDATOR_MAXIMUM_CONSTRAINT"),
    ],
)
def test_refusals(api: Client, method: str, path: str, code: int, body: dict[str, Any], said: str) -> None:
    before = api.fw.config()
    assert api(method, path, code, **body) == said
    assert api.fw.config() == before


def test_an_interface_is_replaced_by_a_patch_and_a_phase_is_merged(api: Client) -> None:
    api("POST", "/vpn/ipsec/phase1", **PHASE1)
    wanted: dict[str, Any] = {"if": "ipsec1", "enable": True, "descr": "AZURE0", "typev4": "none", "mtu": 1400}
    api("POST", "/interface", **wanted)
    api.fw.edit("config_set_path('ipsec/phase1/0/ours', 'kept'); config_set_path('interfaces/opt1/ours', 'lost');")
    api("PATCH", "/vpn/ipsec/phase1", id=0, descr="x")
    api("PATCH", "/interface", id="opt1", mtu=1300)
    text = api.fw.config().decode()
    assert "<ours>kept</ours>" in text
    assert "<ours>lost</ours>" not in text
    assert "<mtu>1300</mtu>" in text


def test_who_is_not_known_and_what_cannot_be_read(api: Client) -> None:
    url, key = f"{api.fw.url}/api/v2", {"X-API-Key": api.fw.key}
    stranger = requests.get(f"{url}/system/version", headers={"X-API-Key": "wrong"}, timeout=9)
    assert (stranger.status_code, stranger.json()["response_id"]) == (401, "AUTH_AUTHENTICATION_FAILED")
    for kind, body, code, said in (
        ("application/json", "{", 400, "JSON_CONTENT_HANDLER_COULD_NOT_DECODE_JSON"),
        ("text/plain", "x", 415, "CONTENT_HANDLER_DECODE_NOT_FOUND"),
    ):
        bad = requests.post(f"{url}/vpn/ipsec/apply", data=body, headers={**key, "Content-Type": kind}, timeout=9)
        assert (bad.status_code, bad.json()["response_id"]) == (code, said)
    made = api("POST", "/auth/key", descr="agent")
    assert requests.get(f"{url}/system/version", headers={"X-API-Key": made["key"]}, timeout=9).status_code == 200
    assert requests.get(f"{url}/system/version", auth=("admin", api.fw.password), timeout=9).status_code == 200


def test_a_command_blocks_while_somebody_holds_its_output(api: Client) -> None:
    """`cmd &` keeps the call open until the child ends; with its output elsewhere it does not."""
    command = "(while [ ! -e /tmp/go ]; do sleep 0.01; done; echo late) & echo now; touch /tmp/go"
    ran = api("POST", "/diagnostics/command_prompt", command=command)
    assert ran == {"output": "now\nlate", "result_code": 0}
    api("POST", "/diagnostics/command_prompt", command="sh -c 'sleep 600' </dev/null >/dev/null 2>&1 & echo back")
    lost = api("POST", "/diagnostics/command_prompt", command="echo out; exit 7")
    assert lost == {"output": "out", "result_code": 7}


def test_the_package_is_gone(api: Client) -> None:
    api.fw.faults.rest_removed = True
    try:
        url = f"{api.fw.url}/api/v2/system/version"
        answer = requests.get(url, headers={"X-API-Key": api.fw.key}, timeout=9)
        assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (404, "text/html")
        known = api.fw.run("pkg-static", "query", "%n %v", "pfSense-pkg-frr", "pfSense-pkg-RESTAPI").stdout
        assert known == "pfSense-pkg-frr 2.0.2_7\n"
    finally:
        api.fw.faults.rest_removed = False


# against what was recorded ----------------------------------------------------------------------------------------

VARIES = re.compile(r"uniqid|tracker|_time|created_by|updated_by|^key$")


@pytest.mark.skipif(MISSING, reason="the recorded exchanges are not beside this checkout")
@pytest.mark.parametrize("name", ["restapi-demo.txt", "restapi-demo2.txt"])
def test_recorded_exchanges(tmp_path: Path, name: str) -> None:
    """Status, envelope and data are those of the recording, key by key."""
    config, settings = scene(name, tmp_path)
    exchanges = demo(name)
    assert len(exchanges) >= 10
    with Twin(tmp_path / "fw", config, **settings) as fw:
        for exchange in exchanges:
            status, answer = ask(fw, exchange)
            assert status == exchange.status, (exchange, answer)
            assert _steady(answer) == _steady(exchange.answer), f"{exchange.method} {exchange.path}"


def ask(fw: Twin, exchange: Exchange) -> tuple[int, Any]:
    url, key = f"{fw.url}/api/v2{exchange.path}", {"X-API-Key": fw.key}
    answer = requests.request(exchange.method, url, headers=key, timeout=30, json=exchange.body)
    return answer.status_code, answer.json()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "" if VARIES.search(k) else _steady(v) for k, v in value.items()}
    return [_steady(v) for v in value] if isinstance(value, list) else value
