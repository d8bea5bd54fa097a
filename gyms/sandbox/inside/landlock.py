"""Landlock: a thread gives up all files but those below named folders, without any privilege or namespace."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable

from gyms.sandbox.inside import kernel

__all__ = ["abi", "restrict", "restrict_writes"]

_NR_CREATE, _NR_ADD, _NR_RESTRICT = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
_RIGHTS_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_RIGHTS_FROM_ABI_5 = (1 << 16) - 1
_NOT_WRITING = _READ | _IOCTL_DEVICE
_TCP = 3
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def abi() -> int:
    """Landlock's version in this kernel; 0 where it is missing or switched off."""
    try:
        return kernel.syscall(_NR_CREATE, None, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Keep this process to these files and folders; needs `forbid_new_privileges` before. Missing paths are skipped."""
    version = abi()
    rights = _RIGHTS_OF_ABI.get(version, _RIGHTS_FROM_ABI_5)
    ruleset = _Ruleset(rights, _TCP if version >= 4 else 0, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    fd = kernel.syscall(_NR_CREATE, ctypes.byref(ruleset), size, 0)
    try:
        for paths, wanted in ((readable, _READ), (writable, rights)):
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    _allow(fd, path, wanted & rights)
        kernel.syscall(_NR_RESTRICT, fd, 0)
    finally:
        os.close(fd)


def restrict_writes(writable: Iterable[str]) -> None:
    """Keep this thread, and what it starts, from writing outside of these files and folders; reading is as before.

    Needs `forbid_new_privileges` before. Missing paths are skipped. Mounting is refused from then on.
    """
    rights = _RIGHTS_OF_ABI.get(abi(), _RIGHTS_FROM_ABI_5) & ~_NOT_WRITING
    ruleset = _Ruleset(rights, 0, 0)
    fd = kernel.syscall(_NR_CREATE, ctypes.byref(ruleset), 8, 0)
    try:
        for path in writable:
            with contextlib.suppress(FileNotFoundError):
                _allow(fd, path, rights)
        kernel.syscall(_NR_RESTRICT, fd, 0)
    finally:
        os.close(fd)


def _allow(ruleset: int, path: str, rights: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        is_folder = os.path.isdir(path)
        rule = _PathBeneath(rights if is_folder else rights & _FILE_RIGHTS, parent)
        kernel.syscall(_NR_ADD, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(parent)
