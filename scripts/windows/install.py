"""Installs this project for a Windows Python, from another system: `install.py VERSION TREE SITE CONSTRAINTS`.

pip takes wheels for another platform, but asks its own Python whether a requirement such as
`colorama; sys_platform == "win32"` counts. So it is told what Windows would answer. All but the project itself comes
from wheels alone. The package is then taken from the tree, as in an editable installation.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pip._internal.cli.main import main as pip
from pip._vendor.packaging import markers


def answers(version: str) -> dict[str, str]:
    """What markers ask of a Windows Python."""
    return {
        **markers.default_environment(),
        "os_name": "nt",
        "platform_machine": "AMD64",
        "platform_system": "Windows",
        "platform_release": "10",
        "platform_version": "10.0.19045",
        "python_version": version,
        "python_full_version": f"{version}.0",
        "implementation_version": f"{version}.0",
        "sys_platform": "win32",
    }


def main(version: str, tree: Path, site: Path, constraints: Path) -> int:
    environment = answers(version)
    markers.default_environment = lambda: environment
    status = pip([
        "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--root-user-action=ignore",
        "--target", str(site), "--platform", "win_amd64", "--python-version", version, "--implementation", "cp",
        "--only-binary", ":all:", "--constraint", str(constraints), f"{tree}[test]",
    ])  # fmt: skip
    if status == 0:
        shutil.rmtree(site / "poppo_ipc")
        (site / "poppo_ipc.pth").write_text(f"Z:{tree}\n".replace("/", "\\"), encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(Path, sys.argv[2:])))
