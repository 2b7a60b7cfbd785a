"""Three ways to have a command carried out on the firewall: REST API package, the base system's XML-RPC, being there.

All three end in `sh` as root, so the one thing asked of a way is `run(command)`; what is done is in the PHP (php/), the
same by every way. A command never holds a secret, because over REST and XML-RPC it is a command line on the firewall.
pfSense upgrades remove the REST package: then nginx answers 404, which is `NoWayIn`, and box.py takes the next way.

Whoever holds one of these credentials is root on the firewall. They travel over TLS only (loopback excepted), checked
against a CA file or the certificate's own fingerprint, since pfSense signs its certificate itself.
"""

from __future__ import annotations

import base64
import json
import subprocess
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from xml.parsers.expat import ExpatError

import requests
from requests.adapters import HTTPAdapter

from agent.errors import FirewallBusy, FirewallError
from agent.limits import CONNECT_TIMEOUT_S, MAX_ANSWER_BYTES, shorten

REST_COMMAND_LIMIT = 1024
"""Characters; one more is answered with LENGTH_VALIDATOR_MAXIMUM_CONSTRAINT."""
COMMAND_LIMIT = 60_000
"""Well below what a kernel takes as one argument."""
REST_PATH, XMLRPC_PATH = "/api/v2/diagnostics/command_prompt", "/xmlrpc.php"
CONFIG = "/conf/config.xml"


@dataclass(frozen=True)
class Ran:
    """Exit status, and standard output with standard error in it."""

    code: int
    out: str


class NoWayIn(Exception):
    """This way is not there, or does not let us in. `refused`: our credential is, and trying it again and again would
    make pfSense's login protection lock this host out."""

    def __init__(self, why: str, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


class Way(Protocol):
    """`limit` is the longest command in characters."""

    name: str
    limit: int

    def run(self, command: str, timeout_s: float) -> Ran:
        """Raises NoWayIn; FirewallBusy when the firewall does not answer; FirewallError when it answers nonsense."""
        ...


class _Pinned(HTTPAdapter):
    """Trusts one certificate by its SHA-256, whatever name it carries."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, assert_fingerprint=self._fingerprint)


class Web:
    """One kept-alive session to the firewall's web server. `url` without a trailing slash."""

    def __init__(self, url: str, ca: str | None, fingerprint: str | None) -> None:
        self._url = url
        self._verify: bool | str = ca or True
        self._session = requests.Session()
        self._session.trust_env = False
        if fingerprint is not None:
            self._verify = False  # by name; the adapter checks the certificate itself
            self._session.mount(url, _Pinned(fingerprint))

    def post(
        self, path: str, body: bytes, headers: dict[str, str], auth: tuple[str, str] | None, timeout_s: float
    ) -> tuple[int, bytes]:
        try:
            with self._session.post(
                self._url + path,
                data=body,
                headers=headers,
                auth=auth,
                timeout=(CONNECT_TIMEOUT_S, timeout_s),
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = response.raw.read(MAX_ANSWER_BYTES, decode_content=True)
                return response.status_code, content
        except requests.exceptions.SSLError:
            raise FirewallBusy(
                f"{self._url}: the firewall's certificate is not the one expected: see `ca` and `fingerprint`", 60
            ) from None
        except requests.RequestException as e:
            self._session.close()
            raise FirewallBusy(f"{self._url}: no answer ({type(e).__name__})", 10) from None


class Rest:
    """pfSense-pkg-RESTAPI v2 with an API key: `POST /diagnostics/command_prompt`, at most 1024 characters."""

    name, limit = "rest", REST_COMMAND_LIMIT

    def __init__(self, web: Web, key: str) -> None:
        self._web = web
        self._key = key

    def run(self, command: str, timeout_s: float) -> Ran:
        headers = {"X-API-Key": self._key, "Content-Type": "application/json", "Accept": "application/json"}
        status, body = self._web.post(REST_PATH, json.dumps({"command": command}).encode(), headers, None, timeout_s)
        answer = _envelope(body)
        if answer is None:
            if status >= 500:
                raise FirewallBusy(f"the firewall's web server answers {status}", 10)
            raise NoWayIn(f"the REST API package is not there (HTTP {status}): an upgrade of pfSense removes it")
        said = f"{answer.get('response_id')}: {shorten(str(answer.get('message')), 200)}"
        if status in (401, 403):
            raise NoWayIn(f"the REST API does not accept the key ({said})", refused=True)
        if status in (404, 405):
            raise NoWayIn(f"the REST API has no command endpoint ({said})")
        if status in (429, 503):
            raise FirewallBusy(f"the REST API is busy ({said})", 10)
        data = answer.get("data")
        if status != 200 or not isinstance(data, dict) or not isinstance(data.get("result_code"), int):
            raise FirewallError(f"the REST API answers {status} ({said})")
        return Ran(data["result_code"], str(data.get("output") or ""))


def _envelope(body: bytes) -> dict[str, Any] | None:
    """The package's answer; None for anything else, such as nginx's own pages."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and "response_id" in answer else None


class XmlRpc:
    """The base system's `/xmlrpc.php`, `pfsense.exec_php`: Basic auth, a user with `system-xmlrpc-ha-sync`."""

    name, limit = "xmlrpc", COMMAND_LIMIT

    def __init__(self, web: Web, user: str, password: str) -> None:
        self._web = web
        self._auth = (user, password)

    def run(self, command: str, timeout_s: float) -> Ran:
        coded = base64.b64encode(f"{command} 2>&1".encode()).decode()
        code = f'exec(base64_decode("{coded}"), $o, $c); $toreturn = json_encode([$c, implode("\\n", $o)], 1048576);'
        body = xmlrpc.client.dumps((code,), "pfsense.exec_php").encode()
        status, answer = self._web.post(XMLRPC_PATH, body, {"Content-Type": "text/xml"}, self._auth, timeout_s)
        if status in (401, 403):
            raise NoWayIn(f"XML-RPC does not accept the user (HTTP {status})", refused=True)
        if status >= 500:
            raise FirewallBusy(f"XML-RPC answers {status}", 10)
        try:
            (said,), _ = xmlrpc.client.loads(answer)
            result, out = json.loads(str(said))
            return Ran(int(result), str(out))
        except xmlrpc.client.Fault as e:
            text = shorten(e.faultString, 200)
            if "uthentication" in text or "ccess denied" in text:
                raise NoWayIn(f"XML-RPC does not accept the user ({text})", refused=True) from None
            raise FirewallError(f"XML-RPC: {text}") from None
        except (ValueError, TypeError, ExpatError, xmlrpc.client.ResponseError):
            raise NoWayIn(f"what answers at {XMLRPC_PATH} (HTTP {status}) is not pfSense's XML-RPC") from None


class Local:
    """On the firewall itself."""

    name, limit = "local", COMMAND_LIMIT

    def __init__(self, shell: tuple[str, ...] = ("/bin/sh", "-c"), config: Path = Path(CONFIG)) -> None:
        self._shell = shell
        self._config = config

    def run(self, command: str, timeout_s: float) -> Ran:
        if not self._config.exists():
            raise NoWayIn(f"this host is not a pfSense: there is no {CONFIG}")
        try:
            done = subprocess.run(
                (*self._shell, command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FirewallBusy(f"the firewall did not finish within {timeout_s:.0f} s", 10) from None
        return Ran(done.returncode, done.stdout.decode(errors="replace"))
