"""The command `sluicebox` of the wheel: finds the libtorch of the installed torch and becomes the binary beside it."""

import importlib.util
import os
import pathlib
import re
import sys

# libtorch for which the binary is built.
TORCH = "2.11.0"
INSTALL = f"{sys.executable} -m pip install torch=={TORCH}"


def torch_folder():
    """Returns the folder of the installed torch, which is not imported. Raises `SystemExit` with what to do."""
    try:
        found = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        found = None
    if found is None or not found.origin:
        raise SystemExit(f"error: there is no torch in this Python environment; install it: {INSTALL}")
    folder = pathlib.Path(found.origin).parent
    version = version_of(folder)
    if version != TORCH:
        raise SystemExit(
            f"error: torch {version or 'of an unknown version'} is installed ({folder}), but this sluicebox needs the "
            f"libtorch of {TORCH}: {INSTALL}"
        )
    return folder


def version_of(folder):
    """Returns the version of the torch in a folder, without what it was built for; None if it does not say."""
    try:
        text = (folder / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^__version__ = ['\"]([^'\"+]+)", text, re.MULTILINE)
    return found and found.group(1)


def binary(name):
    """Returns the path of a binary of the wheel."""
    path = pathlib.Path(__file__).parent / "bin" / name
    if not path.is_file():
        raise SystemExit(
            f"error: this installation has the Python package without the command ({path} is missing): install the wheel "
            "that scripts/wheel makes, or build the command with cargo"
        )
    return path


def become(path, environment):
    """Replaces this process by the binary."""
    os.execve(path, [str(path), *sys.argv[1:]], environment)


def main():
    """The command `sluicebox`."""
    path = binary("sluicebox")
    lib = torch_folder() / "lib"
    earlier = os.environ.get("LD_LIBRARY_PATH")
    paths = f"{lib}{os.pathsep}{earlier}" if earlier else str(lib)
    become(path, {**os.environ, "LD_LIBRARY_PATH": paths})


def client():
    """The command `sluicebox-client`, which needs no torch."""
    become(binary("sluicebox-client"), dict(os.environ))
