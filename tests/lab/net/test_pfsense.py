"""A home whose firewall is a pfSense: reached as its owner would, beside a Linux one, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace

import pytest

from lab.net.pfsense import Pfsense
from lab.net.run import LabNetError, add_namespace, inside, namespaces, run, until
from lab.net.topology import CLOUD, Home
from lab.net.world import Network
from tests.lab.net.hand import another_home

pytestmark = pytest.mark.lab
ASK = """
import hashlib, json, os, ssl, urllib.request
from urllib.parse import urlsplit
url = os.environ["URL"]
pem = ssl.get_server_certificate((urlsplit(url).hostname, 443))
request = urllib.request.Request(url + "/api/v2/system/version", headers={"X-API-Key": os.environ["KEY"]})
answer = urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=10)
print(json.dumps([hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest(), answer.status]))
"""


async def test_the_lan_reaches_its_firewall_and_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    office, fort = another_home(2), replace(another_home(7), firewall="pfsense")
    async with Network(homes=(fort, office)) as net:
        firewall = net.homes[fort.name].firewall
        assert isinstance(firewall, Pfsense)
        monkeypatch.setenv("URL", firewall.url)
        monkeypatch.setenv("KEY", firewall.key)
        assert firewall.url == "https://192.168.7.1:443"
        said = await run(*inside(fort.agent_ns), sys.executable, "-c", ASK)
        assert json.loads(said) == [firewall.fingerprint, 200]
        with pytest.raises(LabNetError, match=r"unreachable|timed out"):
            await run(*inside("dns"), sys.executable, "-c", ASK)
        assert "<ipaddr>192.168.7.1</ipaddr>" in (firewall.root / "cf/conf/config.xml").read_text()
        assert await net.ping(fort.agent_ns, CLOUD)
        with pytest.raises(LabNetError, match="its charon and FRR are its own"):
            _ = net.homes[fort.name].charon
        assert await net.homes[office.name].charon.sas() == []
        assert firewall.key not in repr(firewall) + await run("ps", "-eo", "args=")


async def test_a_firewall_that_is_killed_leaves_nothing_behind(_sandbox: None) -> None:
    async with Network(homes=(Home(firewall="pfsense"),)) as net:
        firewall = net.homes["home"].firewall
        assert isinstance(firewall, Pfsense)
        await add_namespace("home~ipsec1")  # as it makes one for its first tunnel
        os.kill(firewall.daemon.pid, signal.SIGKILL)
    assert await namespaces() == set()

    async def gone() -> bool:
        return str(firewall.root) not in await run("ps", "-eo", "args=")

    await until("its processes ending", gone, within=5)
