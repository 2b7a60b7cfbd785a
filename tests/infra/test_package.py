"""What goes to Azure: the same by .funcignore and by infra/package.py; it stands alone, and its bytecode is used."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pathspec
import pytest

from tests.app import FUNCTIONS

from .bicep import ROOT

NAMES = "import function_app; print(*(f.get_function_name() for f in function_app.app.get_functions()))"
PYTHON_313 = shutil.which("python3.13")


@pytest.fixture(scope="module")
def package() -> ModuleType:
    spec = importlib.util.spec_from_file_location("package", ROOT / "infra" / "package.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def staged(package: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target: Path = tmp_path_factory.mktemp("staged") / "package"
    package.stage(ROOT, target)
    return target


def left_by_funcignore() -> set[str]:
    """Relative paths; ignored folders are not entered, as gitignore has it."""
    spec = pathspec.GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())
    found = set()
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        folders[:] = [f for f in folders if not spec.match_file(f"{here / f}/")]
        found |= {str(here / f) for f in files if not spec.match_file(str(here / f))}
    return found


def files_of(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"}


def run(code: str, cwd: Path) -> str:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout


def works(python: str | None) -> bool:
    """A name on PATH may be a shim that leads nowhere."""
    return python is not None and subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def test_funcignore_and_the_package_agree(staged: Path) -> None:
    left = left_by_funcignore()
    assert left >= {"function_app.py", "host.json", "requirements.txt", "constraints.txt"}
    assert {p.partition("/")[0] for p in left if "/" in p} == {"functions", "shared"}
    assert left == files_of(staged)


def test_it_stands_alone(staged: Path) -> None:
    """Nothing of agent, lab or tests is needed, and all functions are there."""
    assert set(run(NAMES, staged).split()) == set(FUNCTIONS)


def test_bytecode_is_there_and_believed(package: ModuleType, staged: Path) -> None:
    """Flags of PEP 552: 1 is a hash that nobody checks; so a changed time, or text, of the source does not matter."""
    copy = staged.parent / "compiled"
    shutil.copytree(staged, copy)
    assert package.precompile(copy)
    for source in copy.rglob("*.py"):
        compiled = Path(importlib.util.cache_from_source(str(source)))
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 1, source.name
    (copy / "shared" / "errors.py").write_text("raise SystemExit('the source was read')")
    run("import shared.errors", copy)


def test_another_python_is_refused(package: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    if sys.version_info[:2] == package.PYTHON:
        pytest.skip("this is the Python that runs in Azure")
    assert package.main() == 1
    assert "python3.13" in capsys.readouterr().err


@pytest.mark.skipif(not works(PYTHON_313), reason="no python3.13 on PATH")
def test_the_python_of_azure_compiles_it(staged: Path) -> None:
    copy = staged.parent / "python313"
    shutil.copytree(staged, copy)
    subprocess.run([str(PYTHON_313), "-m", "compileall", "-q", str(copy)], check=True)
