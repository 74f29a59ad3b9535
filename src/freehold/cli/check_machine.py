"""Checks of the machine and the account: what Freehold stands on."""

import importlib.metadata
import os
import re
import resource
import shutil
import ssl
import sys
import time
from pathlib import Path

from freehold import __version__
from freehold.cli.site import Finding, Site
from freehold.home import home

EARLIEST = 1_767_225_600.0
"""Unix time of 2026-01-01: this version did not exist before."""
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=\s*(?P<least>[0-9.]+))?")
_MIB = 1 << 20


def python(site: Site) -> list[Finding]:
    """Too old a Python cannot even import this file; what is left to say is which one runs."""
    version = ".".join(map(str, sys.version_info[:3]))
    return [Finding("python", "ok", f"Python {version}, Freehold {__version__}, {sys.executable}")]


def packages(site: Site) -> list[Finding]:
    """Every package that a plain installation needs, at least in the version it needs."""
    faults, good = [], 0
    for requirement in importlib.metadata.requires("freehold") or []:
        match = _REQUIREMENT.match(requirement)
        if match is None or "extra ==" in requirement:
            continue
        name, least = match["name"], match["least"]
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            faults.append(Finding("packages", "fail", f"{name} is not installed", f"pip install '{name}>={least}'"))
            continue
        if least and _numbers(version) < _numbers(least):
            found = f"{name} {version} is older than {least}"
            faults.append(Finding("packages", "fail", found, f"pip install --upgrade '{name}>={least}'"))
        else:
            good += 1
    return faults or [Finding("packages", "ok", f"all {good} that Freehold needs are installed")]


def state_folder(site: Site) -> list[Finding]:
    folder = home()
    state = folder.stat()
    if state.st_uid != os.geteuid():
        return [Finding("home", "fail", f"{folder} belongs to another user", f"chown -R $(id -un) {folder}")]
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return [Finding("home", "fail", f"{folder} cannot be written", f"chmod u+rwx {folder}")]
    if state.st_mode & 0o077:
        found = f"{folder} can be entered by others (mode {state.st_mode & 0o777:o}); it holds prompts' costs and keys"
        return [Finding("home", "warn", found, f"chmod 700 {folder}")]
    return [Finding("home", "ok", f"{folder} is yours alone")]


def disk(site: Site) -> list[Finding]:
    free = shutil.disk_usage(home()).free
    found = f"{free / (1 << 30):,.1f} GiB free in {home()}"
    if free < 64 * _MIB:
        return [Finding("disk", "fail", f"{free // _MIB} MiB free: the journal will stop calls", "free disk space")]
    if free < 1024 * _MIB:
        return [Finding("disk", "warn", found, "free disk space, or set FREEHOLD_HOME to a folder on another disk")]
    return [Finding("disk", "ok", found)]


def clock(site: Site) -> list[Finding]:
    """The clock dates prices and expires keys. Files that come from the future show that it was set back."""
    now = time.time()
    fix = "set the clock: timedatectl set-ntp true"
    if now < EARLIEST:
        year = time.gmtime(now).tm_year
        return [Finding("clock", "fail", f"the clock says {year}, before this version was made", fix)]
    files = [home(), *home().glob("*"), Path(__file__)]
    latest = max((file.stat().st_mtime for file in files if file.exists()), default=now)
    if latest > now + 60:
        ahead = int(latest - now)
        return [
            Finding("clock", "warn", f"files here were written {ahead:,} s in the future: the clock fell back", fix)
        ]
    return [Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)))]


def certificates(site: Site) -> list[Finding]:
    """The CA store that TLS to providers is verified with."""
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        value = os.environ.get(variable)
        if value and not Path(value).exists():
            return [
                Finding("certificates", "fail", f"{variable} names {value}, which is not there", f"unset {variable}")
            ]
    count = ssl.create_default_context().cert_store_stats()["x509_ca"]
    folder = ssl.get_default_verify_paths().capath
    if not count and folder and Path(folder).is_dir():
        count = sum(1 for _ in Path(folder).iterdir())
    if not count:
        fix = "apt-get install ca-certificates, or set SSL_CERT_FILE to a bundle"
        return [Finding("certificates", "fail", "there are no CA certificates: no TLS to any provider", fix)]
    return [Finding("certificates", "ok", f"{count} CA certificates")]


def descriptors(site: Site) -> list[Finding]:
    """Each request in flight holds two sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * site.config.server.max_inflight + 100
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return [Finding("file limit", "ok", f"{soft:,} open files" if soft >= 0 else "no limit on open files")]
    fix = f"ulimit -n {wanted}" if hard == resource.RLIM_INFINITY or hard >= wanted else "raise LimitNOFILE or nofile"
    found = f"{soft:,} open files, server.max_inflight needs {wanted:,}"
    return [Finding("file limit", "warn", found, f"{fix}, or server.max_inflight: {max(1, (soft - 100) // 2)}")]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:4])
