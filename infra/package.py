"""Makes build/homelink.zip, which is what runs in Azure: the app, its packages for Linux, and the bytecode of both.

Bytecode is most of a cold start. Measured under Python 3.13 on a shared core: importing the app and azure.mgmt.network
takes 1.4 s and 92 MB with it, 8.9 s and 351 MB without, of the 512 that an instance has. It has to be of the Python
that runs in Azure, so this runs under that one. It is not checked against its sources' times (unchecked hash), because
unpacking a zip changes these.
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
PYTHON = (3, 13)
SHIPPED = ("function_app.py", "host.json", "requirements.txt", "constraints.txt", "functions", "shared")
"""The same as .funcignore leaves over (tests/infra holds them together)."""
PACKAGES = Path(".python_packages/lib/site-packages")
"""Where the Python worker looks for what the app did not bring along in Azure's own way."""
PLATFORM = ("manylinux_2_28_x86_64", "manylinux2014_x86_64")


def stage(root: Path, target: Path) -> None:
    """The app's own files in an empty folder."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in SHIPPED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def install(target: Path) -> None:
    """Raises CalledProcessError where a package has no wheel for Azure's platform."""
    platforms = [f"--platform={name}" for name in PLATFORM]
    version = ".".join(map(str, PYTHON))
    options = ["--quiet", "--no-compile", "--only-binary=:all:", f"--python-version={version}", *platforms]
    wanted = [f"--target={target / PACKAGES}", f"--requirement={target / 'requirements.txt'}"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *wanted], check=True)


def precompile(target: Path) -> bool:
    """Whether all of it could be compiled. Paths in tracebacks begin at the app's folder."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    return bool(compileall.compile_dir(target, quiet=1, stripdir=str(target), workers=0, invalidation_mode=mode))


def stands(target: Path) -> bool:
    """Whether it can be imported with nothing but itself, which a package that requirements.txt lacks would prevent."""
    code = f"import sys; sys.path[:0] = ['.', {str(PACKAGES)!r}]; import function_app"
    return subprocess.run([sys.executable, "-I", "-B", "-c", code], cwd=target, check=False).returncode == 0


def main() -> int:
    if sys.version_info[:2] != PYTHON:
        sys.stderr.write("Run this with the Python that runs in Azure: python3.13 infra/package.py\n")
        return 1
    target = BUILD / "package"
    stage(ROOT, target)
    install(target)
    if not (precompile(target) and stands(target)):
        return 1
    made = shutil.make_archive(str(BUILD / "homelink"), "zip", target)
    sys.stdout.write(f"{made}: {Path(made).stat().st_size / 1e6:.0f} MB\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
