"""Checks of this machine and the lake; each is one line, and a failed one says in a sentence what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lakehouse.errors import CreatorlakeError
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.bucket import apply_lifecycle
from lakehouse.storage.probe import Finding, probe

MIN_JAVA = 17
MIN_FREE_GIB = 5
"""A default run needs well under 1 GiB; below this a lake of any size will soon fill the disk."""


def doctor(*, is_setting_lifecycle: bool = False) -> int:
    """Run every check, print the findings, return 1 if one failed.

    Args:
        is_setting_lifecycle: set the rules of `lakehouse/storage/lifecycle.json` on the lake's bucket first.

    Raises:
        PermanentError: the rules cannot be set: the lake is no bucket, or the store does not keep them.
    """
    settings = load_settings()
    if is_setting_lifecycle:
        apply_lifecycle(settings)
    findings = [_guarded(name, check, settings) for name, check in CHECKS.items()] + _lake(settings)
    for finding in findings:
        sys.stdout.write(f"{'ok  ' if finding.is_fine else 'FAIL'} {finding.name}: {finding.text}\n")
    return 0 if all(finding.is_fine for finding in findings) else 1


def _guarded(name: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    try:
        return check(settings)
    except CreatorlakeError as error:
        return Finding(name, is_fine=False, text=str(error))


def _java(_settings: Settings) -> Finding:
    home = os.environ.get("JAVA_HOME")  # Spark looks there first
    program = shutil.which("java", path=f"{home}/bin" if home else None)
    if program is None:
        where = f" or correct JAVA_HOME={home}" if home else ""
        return Finding("Java", is_fine=False, text=f"install Java {MIN_JAVA} or newer{where}")
    shown = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stderr  # noqa: S603
    match = re.search(r'version "(\d+)', shown)
    is_fine = match is not None and int(match.group(1)) >= MIN_JAVA
    return Finding("Java", is_fine=is_fine, text=shown.splitlines()[0] if shown else "no version given")


def _jars(settings: Settings) -> Finding:
    return Finding("Spark jars", is_fine=True, text=f"{len(settings.jars())} files")


def _disk(settings: Settings) -> Finding:
    place = next(path for path in [settings.home, *settings.home.parents] if path.exists())
    free = shutil.disk_usage(place).free / (1 << 30)
    return Finding("Disk", is_fine=free >= MIN_FREE_GIB, text=f"{free:.0f} GiB free, {MIN_FREE_GIB} wanted")


def _lake(settings: Settings) -> list[Finding]:
    try:
        return probe(settings)
    except (CreatorlakeError, OSError) as error:
        return [Finding("Lake", is_fine=False, text=f"{settings.lake_root} cannot be opened: {error}")]


def _mappings(settings: Settings) -> Finding:
    folder: Path | None = settings.mappings_dir
    is_fine = folder is None or folder.is_dir()
    return Finding("Mappings", is_fine=is_fine, text=str(folder) if folder else "the built-in ones")


CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "Java": _java,
    "Spark jars": _jars,
    "Disk": _disk,
    "Mappings": _mappings,
}
