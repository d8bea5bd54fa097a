"""The system calls that isolation is made of, by ctypes: Python 3.11 has no names for them. Linux only.

Each function raises OSError with the call's name where the kernel refuses; whether that refuses a tier is the
caller's decision.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform

__all__ = [
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "become_subreaper",
    "bind_read_only",
    "die_with_parent",
    "drop_all_capabilities",
    "drop_bounding_set",
    "forbid_new_privileges",
    "mount",
    "pivot_root",
    "prctl",
    "set_dumpable",
    "setns",
    "syscall",
    "umount_lazily",
    "unshare",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_IS_ARM = platform.machine() == "aarch64"
_NR_PIVOT_ROOT = 41 if _IS_ARM else 155
_NR_CAPSET = 91 if _IS_ARM else 126
_NR_MOUNT_SETATTR = 442

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: object) -> int:
    """A raw system call; integers are passed as 64 bits, None as 0."""
    plain = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *plain), f"system call {number}")


def prctl(option: int, *arguments: int) -> int:
    """prctl(2) with unused arguments 0."""
    padded = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)][:4]
    return _checked(_libc.prctl(option, *padded), f"prctl({option})")


def unshare(flags: int) -> None:
    """Leave the namespaces named by the flags."""
    _checked(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, flags: int) -> None:
    """Enter the namespace behind a descriptor."""
    _checked(_libc.setns(fd, flags), f"setns({flags:#x})")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _checked(
        _libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(data) if data else None), f"mount {kind} at {target}"
    )


def umount_lazily(target: str) -> None:
    """Take a mount out of sight; it goes when nobody uses it."""
    _checked(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make a mount point the root of this mount namespace."""
    syscall(_NR_PIVOT_ROOT, ctypes.c_char_p(os.fsencode(new_root)), ctypes.c_char_p(os.fsencode(put_old)))


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def bind_read_only(source: str, target: str, *, devices: bool = False) -> None:
    """Show `source` at `target`, with all mounts below it, read-only and without set-user-id bits."""
    mount(source, target, None, MS_BIND | MS_REC)
    flags = _MOUNT_ATTR_NOSUID | (0 if devices else _MOUNT_ATTR_NODEV | _MOUNT_ATTR_RDONLY)
    attr = _MountAttr(flags, 0, 0, 0)
    path = ctypes.c_char_p(os.fsencode(target))
    try:
        syscall(_NR_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, ctypes.byref(attr), ctypes.sizeof(attr))
    except OSError as error:
        if error.errno != errno.ENOSYS:  # kernels before 5.12: only the top mount can be changed
            raise
        kept = os.statvfs(target).f_flag & ~(MS_RDONLY | MS_REMOUNT)  # what the owner of the mount locked must stay
        mount("none", target, None, MS_REMOUNT | MS_BIND | kept | flags)


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process a signal when the thread that made it ends."""
    prctl(_PR_SET_PDEATHSIG, signal_number)


def become_subreaper() -> None:
    """Have orphans among this process's descendants become its children."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(is_dumpable: bool) -> None:
    """Whether processes of the same user may look into this one."""
    prctl(_PR_SET_DUMPABLE, int(is_dumpable))


def forbid_new_privileges() -> None:
    """No program that this process starts gains rights by being started."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_bounding_set() -> None:
    """Take every capability out of what a later exec could give; what this process holds, it keeps."""
    for capability in range(64):
        try:
            prctl(_PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: past the last capability of this kernel
                raise
            return


def drop_all_capabilities() -> None:
    """Give up every capability, for good."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    syscall(_NR_CAPSET, ctypes.byref(header), ctypes.byref(nothing))
