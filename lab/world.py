"""The whole lab as one async context manager: network, simulated Azure, Azurite, Functions host, one agent per home.

Everything but Azure itself is real: `function_app.py` and the agent run unchanged, as processes of their own, and find
each other by the same app settings and agent.toml that a user writes. Must run in the sandbox (lab.net.sandbox).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import ssl
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from lab import tls
from lab.azurite import Azurite, Tls
from lab.client import Client, eventually
from lab.net import sandbox, topology
from lab.net.pfsense import USER, Pfsense
from lab.net.run import Daemon, LabNetError, inside, run
from lab.net.topology import CLOUD, RESOLVER, Home
from lab.net.world import HomeDaemons, Network

ROOT = Path(__file__).resolve().parent.parent
AZURE_PORT, API_PORT = 8443, 7443
CONTROLLER = "lab"
TENANT, SUBSCRIPTION = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
MAX_TIMER_FACTOR = 12.0
FIREWALLS = {"linux": "Linux: strongSwan, FRR", "pfsense": "pfSense"}
TELEMETRY = "telemetry.jsonl"
DNS_TTL_S = 20  # dynamic names mostly have 60; a pin ends only after it, and the demo should too


class World:
    """`factor`: how much faster than Azure the simulated Azure runs at first; the host's timers run at most
    MAX_TIMER_FACTOR times faster, so that sweeps do not crowd out everything else on a small machine. `logs`: a folder
    that outlives the sandbox. `progress` is told each thing that has started."""

    def __init__(
        self,
        *,
        factor: float,
        logs: Path,
        homes: tuple[Home, ...] = (Home(),),
        ddns_lag_s: float = 5.0,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.factor, self.logs = factor, logs.resolve()
        self._progress = progress
        self.network = Network(homes=homes, ddns_lag_s=ddns_lag_s, ttl=DNS_TTL_S)
        self.folder = topology.DEFAULT_DIR
        self._stack = AsyncExitStack()
        self._identity_header = secrets.token_urlsafe(24)
        self._key = secrets.token_urlsafe(24)
        self._settings: dict[str, str] = {}
        self._certificates: tls.Certificates | None = None
        self._client: Client | None = None
        self.daemons: dict[str, Daemon] = {}

    @property
    def api(self) -> Client:
        if self._client is None:
            raise LabNetError("the lab is not running: use `async with World(...)`")
        return self._client

    @property
    def certificates(self) -> tls.Certificates:
        if self._certificates is None:
            raise LabNetError("the lab is not running: use `async with World(...)`")
        return self._certificates

    @property
    def azure_url(self) -> str:
        return f"https://{CLOUD}:{AZURE_PORT}"

    @property
    def settings(self) -> dict[str, str]:
        """The app settings of the Functions host, the managed identity's among them. Holds secrets."""
        return dict(self._settings)

    def as_azure_would(self, setenv: Callable[[str, str], None]) -> None:
        """Gives a process the managed identity, which azure-identity finds in its environment."""
        for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "SSL_CERT_FILE"):
            setenv(name, self._settings[name])

    async def __aenter__(self) -> Self:
        if sandbox.VARIABLE not in os.environ:
            raise LabNetError("the lab runs in its sandbox: use `make demo` or `make test`")
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.logs / TELEMETRY).unlink(missing_ok=True)  # it is appended to
        await self._stack.enter_async_context(self.network)
        homes = ", ".join(f"{home.name} ({FIREWALLS[home.firewall]})" for home in self.network.topology.homes)
        self._progress(f"network: Internet, DNS; NAT router, firewall and LAN host of {homes}")
        self._certificates = tls.issue(self.folder / "tls", CLOUD, "127.0.0.1", "localhost")
        storage = Azurite(tls=Tls(self.certificates.cert, self.certificates.key), listen="127.0.0.1")
        await self._stack.enter_async_context(storage)
        self._progress("storage: Azurite")
        self._stack.callback(self._keep_logs)
        await self._start_azure(storage)
        self._progress("Azure (simulated): ARM, Key Vault, identity")
        await self.start_host()
        self._progress("Homelink: function_app.py in the local Functions host")

    def _keep_logs(self) -> None:
        """The network's logs lie in the sandbox and would die with it."""
        for path in (*self.folder.rglob("*.log"), *self.folder.rglob("*.out")):
            kept = self.logs / path.relative_to(self.folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept)

    async def _start_azure(self, storage: Azurite) -> None:
        cert = self.certificates
        arguments = {
            "--listen": "0.0.0.0",
            "--port": str(AZURE_PORT),
            "--name": CLOUD,
            "--cert": str(cert.cert),
            "--key": str(cert.key),
            "--tenant": TENANT,
            "--subscription": SUBSCRIPTION,
            "--factor": str(self.factor),
            "--dns": RESOLVER,
            "--dataplane": "net",
            "--topology": str(self.folder),
            "--queue-upstream": storage.endpoint("queue").removesuffix("/devstoreaccount1"),
            "--queue-ca": str(cert.ca),
            "--state-log": str(self.logs / "azure-state.jsonl"),
        }
        argv = [sys.executable, "-m", "lab.azure", *(w for pair in arguments.items() for w in pair)]
        argv += [w for address in topology.GATEWAYS for w in ("--public-address", address)]
        log = self.folder / "azure.out"
        azure = await Daemon.start(
            "the simulated Azure", argv, log, {"LAB_IDENTITY_HEADER": self._identity_header}, ROOT
        )
        self._stack.push_async_callback(azure.stop)
        self.daemons["azure"] = azure

        async def told() -> bool:
            return any(line.startswith('{"base_url"') for line in log.read_text().splitlines())

        await azure.ready(told, within=20)
        said = next(json.loads(x) for x in log.read_text().splitlines() if x.startswith('{"base_url"'))
        self._settings = {
            "IDENTITY_ENDPOINT": said["identity_endpoint"],
            "IDENTITY_HEADER": self._identity_header,
            "REQUESTS_CA_BUNDLE": str(cert.ca),
            "SSL_CERT_FILE": str(cert.ca),
            "AzureWebJobsStorage__queueServiceUri": f"{self.azure_url}/devstoreaccount1",
            "AzureWebJobsStorage__tableServiceUri": storage.endpoint("table"),
            "AzureWebJobsStorage__blobServiceUri": storage.endpoint("blob"),
            "AzureWebJobsStorage__credential": "managedidentity",
            "HOMELINK_CONTROLLER_ID": CONTROLLER,
            "HOMELINK_ARM_URL": self.azure_url,
            "HOMELINK_VAULT_URL": self.azure_url,
            "HOMELINK_VERIFY_VAULT_CHALLENGE": "false",
            "HOMELINK_CA_FILE": str(cert.ca),
            "HOMELINK_RESOLVERS": RESOLVER,
            "HOMELINK_TELEMETRY_FILE": str(self.logs / TELEMETRY),
            "LAB_HOST_FUNCTION_KEY": self._key,
            # Azure's least values: a host that follows a killed one takes over its timers in seconds, not minutes.
            "AzureFunctionsJobHost__singleton__listenerLockPeriod": "00:00:15",
            "AzureFunctionsJobHost__singleton__listenerLockRecoveryPollingInterval": "00:00:02",
        }

    async def start_host(self) -> None:
        """The Functions host; also after `kill_host`."""
        cert = self.certificates
        where = ["--listen", "0.0.0.0", "--port", str(API_PORT), "--cert", str(cert.cert), "--key", str(cert.key)]
        argv = [
            sys.executable,
            "-m",
            "lab.host",
            "--app",
            str(ROOT),
            *where,
            "--timer-factor",
            str(min(self.factor, MAX_TIMER_FACTOR)),
        ]
        host = await Daemon.start("the Functions host", argv, self.logs / "host.log", self._settings, ROOT)
        self.daemons["host"] = host
        self._stack.push_async_callback(host.stop)
        base = f"https://{CLOUD}:{API_PORT}"
        context = ssl.create_default_context(cafile=str(cert.ca))
        if self._client is None:
            self._client = await self._stack.enter_async_context(Client(base, self.azure_url, self._key, context))

        async def answers() -> bool:
            if not host.running:
                raise LabNetError(f"the Functions host ended at start:\n{host.tail()}")
            await self.api.call("GET", "gateways")
            return True

        await eventually("the Functions host answering", answers, within=30)

    async def set_clock(self, factor: float) -> None:
        """Another pace for the simulated Azure and the host's timers, from now on."""
        self.factor = factor
        await self.api.clock(factor, min(factor, MAX_TIMER_FACTOR))

    async def kill_host(self) -> None:
        """SIGKILL, as a crash would end it."""
        await self.daemons["host"].stop(grace=0)

    async def agent_command(self, word: str, home: str = "home") -> str:
        """`pause`, `resume` or `status`, as the home owner would type it beside the agent; returns what it prints."""
        found = self.network.homes[home]
        config = str(found.directory / "agent.toml")
        return await run(
            *inside(found.home.agent_ns), sys.executable, "-m", "agent", word, "--config", config, cwd=ROOT
        )

    async def start_agent(self, name: str, home: str = "home", *, timing: str = "") -> None:
        """Enrols an agent with a one-time token and starts it where it belongs (`Home.agent_ns`), with the driver for
        the home's firewall. `timing`: lines of [timing]."""
        found = self.network.homes[home]
        token = await self.api.call("POST", f"agents/{name}/token")
        state = found.directory / "agent"
        config = found.directory / "agent.toml"
        driver = _pfsense(found, found.firewall) if isinstance(found.firewall, Pfsense) else _linux(found)
        lines = [f'state = "{state}"', f'ca = "{self.certificates.ca}"', "[timing]", timing, *driver]
        config.write_text("\n".join(lines) + "\n")
        token_file = found.directory / "token"
        token_file.write_text(token["token"])
        token_file.chmod(0o600)
        agent = [*inside(found.home.agent_ns), sys.executable, "-m", "agent"]
        base = f"https://{CLOUD}:{API_PORT}"
        words = ("enrol", "--api", base, "--token-file", str(token_file), "--name", name)
        await run(*agent, *words, "--ca", str(self.certificates.ca), "--state", str(state), cwd=ROOT)
        token_file.unlink()
        await self.run_agent(home)

    async def run_agent(self, home: str = "home") -> None:
        """Starts an enrolled agent; also after `kill_agent`."""
        found = self.network.homes[home]
        argv = [*inside(found.home.agent_ns), sys.executable, "-m", "agent", "run", "--config"]
        config, log = str(found.directory / "agent.toml"), self.logs / f"agent-{home}.log"
        running = await Daemon.start(f"the agent of {home}", [*argv, config], log, cwd=ROOT)
        self.daemons[f"agent-{home}"] = running
        self._stack.push_async_callback(running.stop)

    async def kill_agent(self, home: str = "home") -> None:
        """SIGKILL: no service manager starts it again here, `run_agent` does."""
        await self.daemons[f"agent-{home}"].stop(grace=0)


def _linux(home: HomeDaemons) -> list[str]:
    """Lines of agent.toml for a firewall with strongSwan and FRR."""
    return [
        "[firewall]",
        'driver = "linux"',
        "[firewall.linux]",
        f'vici = "{home.vici}"',
        f"vtysh = {json.dumps(['vtysh', '--vty_socket', str(home.vty_socket)])}",
        'link = "tun"',
        'device = "ipsec0"',
        'wan = "wan0"',
        f'lan_address = "{home.home.lan}"',
    ]


def _pfsense(home: HomeDaemons, firewall: Pfsense) -> list[str]:
    """Lines of agent.toml for a pfSense, with both ways in, as docs/pfsense.md has them."""
    files = {name: home.directory / f"pfsense.{name}" for name in ("key", "password")}
    for name, secret in (("key", firewall.key), ("password", firewall.password)):
        files[name].touch(mode=0o600)
        files[name].write_text(secret)
    return [
        "[firewall]",
        'driver = "pfsense"',
        "[firewall.pfsense]",
        f'url = "{firewall.url}"',
        f'fingerprint = "{firewall.fingerprint}"',
        f'api_key_file = "{files["key"]}"',
        f'user = "{USER}"',
        f'password_file = "{files["password"]}"',
    ]
