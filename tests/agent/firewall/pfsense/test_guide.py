"""docs/pfsense.md, walked: its settings load, its commands exist, what it says is so, and by hand it is undone."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from agent import config
from agent.__main__ import _parser
from agent.firewall.pfsense import box, wanted, ways
from agent.firewall.pfsense.driver import build
from shared.domain import limits
from tests.agent import fakes
from tests.agent.firewall.contract_suite import LONG
from tests.agent.firewall.pfsense.world import PfSenseBench

ROOT = Path(__file__).parents[4]
GUIDE = (ROOT / "docs" / "pfsense.md").read_text(encoding="utf-8")
SETTINGS, ON_THE_BOX = re.findall(r"(?:^    .*\n|^\n)*^    driver = .*\n(?:^    .*\n|^\n)*", GUIDE, re.MULTILINE)
COMMANDS = [line.strip() for line in re.findall(r"^ {4,7}(?!#)(\S.*)$", GUIDE, re.MULTILINE)]
CODE = "\n".join(
    p.read_text(encoding="utf-8")
    for folder in ("agent", "shared")
    for p in sorted((ROOT / folder).rglob("*"))
    if p.suffix in (".py", ".php")
)
OF_OTHERS = {
    "/usr/local": "FreeBSD",
    "System: HA node sync": "pfSense's name of system-xmlrpc-ha-sync",
    "shellcmd": "a type of the package Shellcmd",
    "User=": "systemd",
    "CapabilityBoundingSet": "systemd",
    "system-xmlrpc-ha-sync": "pfSense's privilege",
    "api-v2-diagnostics-command-prompt-post": "the REST package's privilege, of the path that ways.py asks",
}
"""Names in the guide that are not Homelink's."""


def toml(block: str, folder: Path) -> Path:
    """A block as a file, with what it leaves commented out, and the files that it names."""
    text = re.sub(r"^# (\w+ = \S+)", r"\1", re.sub(r"^    ", "", block, flags=re.MULTILINE), flags=re.MULTILINE)
    for name in re.findall(r'"(/etc/homelink/\S+)"', text):
        here = folder / Path(name).name
        here.touch(mode=0o600)
        here.write_text("secret\n")
        text = text.replace(name, str(here))
    path = folder / "agent.toml"
    path.write_text(text.replace('"AB:CD:..."', '"' + ":".join(["AB"] * 32) + '"'))
    return path


# settings and commands ------------------------------------------------------------------------------------------------


def test_the_settings_load_and_none_is_missing(tmp_path: Path) -> None:
    loaded = config.load(toml(SETTINGS, tmp_path))
    assert (loaded.driver, loaded.pfsense.url, loaded.pfsense.user) == ("pfsense", "https://192.168.1.1", "homelink")
    assert (loaded.pfsense.api_key, loaded.pfsense.password, loaded.pfsense.merge_bgp) == ("secret", "secret", True)
    known = set(re.findall(r"\b(url|ca|fingerprint|api_key_file|user|password_file|wan|merge_bgp)\b = ", SETTINGS))
    assert known | {"ca"} == {"url", "ca", "fingerprint", "api_key_file", "user", "password_file", "wan", "merge_bgp"}
    assert 'ca = "/etc/homelink/pfsense.pem"' in SETTINGS
    build(loaded, fakes.FakeClock(fakes.World()), fakes.FakeRandom())


def test_on_the_firewall_nothing_but_the_state_is_set(tmp_path: Path) -> None:
    loaded = config.load(toml(ON_THE_BOX, tmp_path))
    assert (loaded.driver, loaded.pfsense.url, str(loaded.state)) == ("pfsense", "", "/conf/homelink-agent")


def test_the_agents_commands_are_its_own() -> None:
    calls = [c for line in [*COMMANDS, *re.findall(r"`([^`\n]*-m agent [^`\n]*)`", GUIDE)] for c in line.split(" && ")]
    asked = [shlex.split(c.split(" -m agent ")[1], comments=True) for c in calls if " -m agent " in c]
    assert {a[0] for a in asked} == {"enrol", "run", "pause"}
    for arguments in asked:
        bare = arguments == ["enrol"]  # in prose: the section that is linked has the rest
        _parser().parse_args(
            [*arguments, *(["--api", "https://x", "--name", "x", "--token-file", "-"] if bare else [])]
        )


def test_what_is_copied_to_the_firewall_is_enough(tmp_path: Path) -> None:
    """The agent and what of `shared` the guide names; and the packages are all that `requests` needs."""
    (copy,) = (line for line in COMMANDS if line.startswith("scp "))
    first, second = (
        "scp -r agent vendor/* HOST:/root/homelink/",
        "scp -r shared/__init__.py shared/wire HOST:/root/homelink/shared/",
    )
    assert copy.replace("root@192.168.1.1", "HOST").split(" && ") == [first, second]
    bare = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "agent", tmp_path / "agent", ignore=bare)
    shutil.copytree(ROOT / "shared" / "wire", tmp_path / "shared" / "wire", ignore=bare)
    shutil.copy(ROOT / "shared" / "__init__.py", tmp_path / "shared")
    code = (
        "import agent.core, agent.executor, agent.__main__ as m, agent.firewall.pfsense.driver, shared, sys;"
        "assert all(n.startswith('shared.wire') for n in sys.modules if n.startswith('shared.')); m.main(['run', '-h'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "--config" in ran.stdout
    (install,) = (line for line in COMMANDS if line.startswith("pip install"))
    needed = {"requests"} | {
        re.split(r"[<>=!;~ ]", r)[0] for r in metadata.requires("requests") or () if "extra" not in r
    }
    assert {w.replace("-", "_") for w in install.split("--no-deps ")[1].split()} == {
        n.replace("-", "_") for n in needed
    }


def test_every_name_in_it_is_somebodys() -> None:
    """In this project's code, or told here whose it is."""
    lost = []
    for name in set(re.findall(r"`([^`\n]+)`", GUIDE)) - set(OF_OTHERS):
        pieces = re.split(r"<\w+>|\.\.\.|N$|[ =&]+", name)
        if not name.startswith(("python", "pkg-static", "rm ", "cd ")) and not all(p in CODE for p in pieces if p):
            lost.append(name)
    assert lost == []


def test_its_figures_are_the_codes() -> None:
    assert f"(one file, {round(len(box.script()), -4) // 1000} KB)" in GUIDE
    assert box.FOLDER == "/conf/homelink"
    assert f"default {limits.REVERT.default} s" in GUIDE
    assert (box.RETRY_REFUSED_S, "again after an hour" in GUIDE) == (3600.0, True)
    tries, timeout, base = (float(wanted.RETRANSMIT[k]) for k in ("tries", "timeout", "base"))
    assert f"{sum(timeout * base**i for i in range(int(tries) + 1)):.0f} s until a silent peer is given up" in GUIDE
    assert f"MTU {wanted.MTU}, MSS field = the spec's MSS + {wanted.MSS_HEADROOM}" in GUIDE
    assert "`api-v2" + ways.REST_PATH.removeprefix("/api/v2").replace("/", "-").replace("_", "-") + "-post`" in GUIDE


def test_what_the_status_says_is_said_somewhere() -> None:
    table = GUIDE.split("\n## Trouble\n")[1]
    said = [row.split("|")[1].strip() for row in table.splitlines() if row.startswith("|")][2:]
    assert len(said) >= 8
    for text in said:
        pieces = re.split(r" \.\.\. into | / the |^BGP `|`$", text)
        assert all(piece in CODE for piece in pieces), text


# what it promises, on a firewall --------------------------------------------------------------------------------------


def settle(bench: PfSenseBench) -> None:
    d = bench.desired()
    bench.firewall.apply(d, 1, bench.psk(d), LONG)
    bench.firewall.confirm()


def test_what_it_makes_is_where_the_table_says(plain: PfSenseBench) -> None:
    settle(plain)
    assert {e.text for kind in ("phase1", "phase2") for e in plain.xml(f"ipsec/{kind}/descr")} == {"homelink-home"}
    assert plain.xml("interfaces/opt1/descr")[0].text == "HL_HOME"
    (gateway,) = plain.xml("gateways/gateway_item[name='HL_HOME_VTIV4']")
    assert gateway.find("force_down") is not None
    assert gateway.find("monitor_disable") is not None
    for section in ("frrglobalprefixes", "frrglobalroutemaps"):
        names = [e.text for e in plain.xml(f"installedpackages/{section}/config/name")]
        assert names == ["homelink-home-in", "homelink-home-out"]
    assert plain.xml("installedpackages/frrbgpneighbors/config/descr")[0].text == "homelink-home"
    assert plain.xml("filter/rule")[-1].findtext("descr", "").startswith("homelink-home ")
    assert plain.xml("installedpackages/homelink/config/state")
    assert b"homelink: apply home" in plain.twin.config()


def test_it_is_undone_by_hand_as_the_guide_says(plain: PfSenseBench) -> None:
    start = plain.config()
    settle(plain)
    (remove,) = (line for line in COMMANDS if " remove " in line)
    ran = plain.twin.run("/bin/sh", "-c", remove)
    assert json.loads(ran.stdout.split("HOMELINK ")[1])["ok"] is True
    assert plain.config() == start
    assert "ipsec1" not in plain.twin.kernel.interfaces
    (away,) = re.findall(r"`(rm -r [^`]*)`", GUIDE)
    assert plain.twin.run("/bin/sh", "-c", away).returncode == 0
    assert not plain.twin.path("/conf/homelink").exists()
    assert plain.firewall.read().tunnels == ()  # whoever comes back finds nothing, and may begin anew


def test_the_firewall_has_the_programs(plain: PfSenseBench) -> None:
    on_it = COMMANDS[COMMANDS.index(next(c for c in COMMANDS if c.startswith("mkdir -p /conf"))) :]
    assert len(on_it) == 4
    for part in (p for c in on_it for p in re.split(r" && | \| ", c)):
        program = part.split()[0]
        assert program in ("cd", "vi") or plain.twin.run("/bin/sh", "-c", f"command -v {program}").returncode == 0
