"""On what kind of file system a path lies: WAL and record locks fail on network ones."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from outlive.errors import ConfigurationError

_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "afpfs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "webdav",
    }
)
_LOCAL_FUSE: Final = frozenset({"fuseblk", "fuse.ext4", "fuse.ntfs-3g", "fuse.fuse-overlayfs", "fuse.bindfs"})
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def mounts() -> str:
    """The mount table, or nothing where there is no such file (then nothing is refused)."""
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def kind_of(path: str, mountinfo: str) -> str:
    """The type of the file system that holds ``path``, an absolute real path; empty if unknown."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, types = left.split(), right.split()
        if len(fields) < 5 or not types:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
        inside = point == "/" or path == point or path.startswith(point + os.sep)
        if inside and len(point) >= len(best):  # of two mounts on one point, the later hides the earlier
            best, kind = point, types[0]
    return kind


def refuse_network(path: str, mountinfo: str) -> None:
    """Raise if ``path`` lies on a network file system."""
    kind = kind_of(path, mountinfo)
    if kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE):
        raise ConfigurationError(
            f"{path} lies on a network file system ({kind}), where SQLite's WAL and file locks don't work and data would be lost; "
            "put it on a local disk, or use PostgreSQL for workers on several machines"
        )
