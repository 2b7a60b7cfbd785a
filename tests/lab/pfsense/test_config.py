"""config.xml: the file's form, one revision per write, the lock and who loses without it."""

from __future__ import annotations

import difflib
import json
import os
import threading
from pathlib import Path

import pytest

from lab.pfsense.twin import Twin
from tests.lab.pfsense.azure import FOREIGN, PLAIN

WAIT = "while (!file_exists('/tmp/{}')) {{ usleep(5000); clearstatcache(); }}"


def changed(before: bytes, after: bytes) -> list[str]:
    """Lines that differ, without those of the revision."""
    pair = (before.decode().splitlines(), after.decode().splitlines())
    lines = [line for line in difflib.unified_diff(*pair, n=0) if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return [line for line in lines if not any(word in line for word in ("<time>17", "<description>", "<username>"))]


@pytest.mark.parametrize("config", [PLAIN, FOREIGN])
def test_a_write_changes_the_revision_and_nothing_else(tmp_path: Path, config: Path) -> None:
    with Twin(tmp_path, config) as fw:
        before = fw.config()
        assert before == config.read_bytes()
        fw.php("write_config('nothing');")
        assert changed(before, fw.config()) == []
        assert fw.config() != before
        fw.edit("config_set_path('system/note', 'a<b>&\\'');", "saved by hand")
        assert changed(before, fw.config()) == ["+\t\t<note>a&lt;b&gt;&amp;&apos;</note>"]
        assert b"<description><![CDATA[somebody@127.0.0.1: saved by hand]]>" in fw.config()


def test_lists_empty_elements_and_flags(plain: Twin) -> None:
    """What goes in is not what comes out: [] in a list vanishes, true is an empty element, numbers are text."""
    code = """config_set_path('x', ['row' => [['a' => 1], []], 'flag' => true, 'off' => false, 'none' => [],
        'empty' => '',
        'descr' => 'a & b', 'state1' => 's']);
      config_set_path('y', ['rule' => []]); write_config('x');
      echo json_encode([config_get_path('x'), config_get_path('y')]);"""
    x, y = json.loads(plain.php(code))
    assert x == {"row": [{"a": "1"}], "flag": "", "none": "", "empty": "", "descr": "a & b", "state1": "s"}
    assert y == ""
    text = plain.config().decode()
    assert "\t\t<descr><![CDATA[a &amp; b]]></descr>\n\t\t<state1><![CDATA[s]]></state1>\n" in text
    assert "<off>" not in text


def test_a_twice_named_element_is_no_configuration(plain: Twin) -> None:
    plain.path("/tmp/bad.xml").write_text("<pfsense><a><b>1</b><b>2</b></a></pfsense>")
    assert plain.php("echo json_encode(parse_xml_config('/tmp/bad.xml', 'pfsense'));") == "-1"


def test_the_slow_writer_takes_back_what_the_fast_one_wrote(plain: Twin) -> None:
    """write_config() locks the writing alone."""
    slow = f"config_set_path('system/slow', '1'); touch('/tmp/read'); {WAIT.format('go')} write_config('slow');"
    thread = threading.Thread(target=plain.php, args=(slow,))
    thread.start()
    while not plain.path("/tmp/read").exists():
        pass
    plain.edit("config_set_path('system/fast', '1');")
    assert b"<fast>" in plain.config()
    plain.path("/tmp/go").touch()
    thread.join()
    assert b"<slow>" in plain.config()
    assert b"<fast>" not in plain.config()


def test_the_lock_is_held_by_one(plain: Twin) -> None:
    held = f"$k = try_lock('agent', 0); touch('/tmp/held'); {WAIT.format('free')} unlock($k);"
    thread = threading.Thread(target=plain.php, args=(held,))
    thread.start()
    while not plain.path("/tmp/held").exists():
        pass
    assert plain.php("var_dump(try_lock('agent', 0));") == "NULL\n"
    plain.path("/tmp/free").touch()
    thread.join()
    assert plain.php("echo is_resource(try_lock('agent', 0)) ? 'mine' : 'no';") == "mine"
    assert plain.path("/tmp/agent.lock").exists()


def test_writing_with_the_lock_held_hangs(plain: Twin) -> None:
    code = "require_once('config.inc'); $k = lock('config', LOCK_EX); write_config('x');"
    ran = plain.run("timeout", "2", "/usr/local/bin/php", "-r", code)
    assert ran.returncode == 124


def test_a_refused_and_a_failed_write(plain: Twin) -> None:
    before = plain.config()
    for name, answer in (("full_disk", "-1"), ("readonly_user", "false")):
        plain.path(f"/var/run/twin.{name}").touch()
        assert plain.php("config_set_path('system/x', '1'); echo json_encode(write_config('x'));") == answer
        plain.path(f"/var/run/twin.{name}").unlink()
        assert plain.config() == before


def test_one_backup_per_second_of_the_previous_revision(plain: Twin) -> None:
    plain.php("write_config('one'); write_config('two'); write_config('three');")
    backups = sorted(p.name for p in plain.path("/cf/conf/backup").glob("config-*.xml"))
    assert "config-1795370000.xml" in backups
    assert len(backups) <= 3
    first = plain.path("/cf/conf/backup/config-1795370000.xml")
    assert first.read_bytes() == PLAIN.read_bytes()
    plain.php("config_restore('/cf/conf/backup/config-1795370000.xml', 'x');")
    assert changed(PLAIN.read_bytes(), plain.config()) == []


@pytest.mark.parametrize(("version", "seen"), [("2.8.1-RELEASE", "fw"), ("2.9.0-DEVELOPMENT", "other")])
def test_whether_the_cache_beats_a_newer_file(tmp_path: Path, version: str, seen: str) -> None:
    """Up to 2.8 it does; whoever reads past the cache sees the file in every version."""
    with Twin(tmp_path, PLAIN, version=version) as fw:
        fw.php("config_read_file(true, false);")
        cache = fw.path("/tmp/config.cache")
        os.utime(cache, (1, 1))
        fw.path("/conf/config.xml").write_text(fw.config().decode().replace("<hostname>fw<", "<hostname>other<"))
        assert fw.php("echo config_get_path('system/hostname');") == seen
        assert fw.php("config_read_file(true, false); echo config_get_path('system/hostname');") == "other"
