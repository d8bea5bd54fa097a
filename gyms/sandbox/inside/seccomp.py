"""The system-call filter of submitted code, as a classic BPF program installed by prctl; no libseccomp.

A list of refusals, not of permissions: interpreters and run-time systems of three languages must work, and what they
call changes with every version. Refused is what makes new kernel objects outside of the private folder, talks to
anything outside (every `socket`), looks into other processes, changes mounts or namespaces, or has a history of holes
(io_uring, bpf, userfaultfd, keyctl, perf). Refused calls fail with EPERM, or with ENOSYS where libraries then try
something else; a foreign architecture is killed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform

from gyms.sandbox.inside import kernel

__all__ = ["Prepared", "is_supported", "program"]

_X86, _ARM = 0, 1
_ARCHITECTURES = {"x86_64": (_X86, 0xC000003E), "aarch64": (_ARM, 0xC00000B7)}

# name: (number on x86-64, number on arm64); None: the architecture has no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),
    "setsockopt": (54, 208),  # a larger buffer: memory that our watch would count too low
    "sendmsg": (46, 211),  # descriptors on their way, and the buffers behind them, that no process has
    "sendmmsg": (307, 269),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "personality": (135, 92),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "lookup_dcookie": (212, 18),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
_UNKNOWN: dict[str, tuple[int | None, int | None]] = {
    "clone3": (435, 435),  # its flags lie in memory, where a filter cannot look; libraries fall back to clone
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_create": (319, 279),  # memory that no limit of ours counts
    "memfd_secret": (447, 447),
}
_SIGNALLING: dict[str, tuple[int | None, int | None]] = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
_SIGNALLING_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "tkill": (200, 130),
    "pidfd_send_signal": (424, 424),
}
_CLONE, _SOCKETPAIR, _PRLIMIT, _IOCTL = (56, 220), (53, 199), (302, 261), (16, 29)
_CLONE_NEW_ANYTHING = 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_AF_UNIX = 1
_X32_BIT = 0x40000000

_LOAD, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NR_OFFSET, _ARCH_OFFSET, _ARGS_OFFSET = 0, 4, 16
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

Instruction = tuple[int, int, int, int]


def is_supported() -> bool:
    """True where this machine's system-call numbers are known."""
    return platform.machine() in _ARCHITECTURES


def program(*, own_signals_only: bool = False) -> list[Instruction]:
    """The filter as (code, jump if true, jump if false, operand).

    `own_signals_only`: signals may be sent to the calling process alone, as of now; for tiers whose processes stand
    among those of others.
    """
    column, arch = _ARCHITECTURES[platform.machine()]
    refuse, unknown = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_OFFSET),
        (_JEQ, 1, 0, arch),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NR_OFFSET),
    ]
    if column == _X86:
        code += [(_JGE, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL_PROCESS)]
    tables = [(_REFUSED, refuse), (_UNKNOWN, unknown)]
    if own_signals_only:
        tables.append((_SIGNALLING_REFUSED, refuse))
    for table, verdict in tables:
        for numbers in table.values():
            number = numbers[column]
            if number is not None:
                code += [(_JEQ, 0, 1, number), (_RETURN, 0, 0, verdict)]
    code += _argument_rule(_CLONE[column], 0, (_JSET, 0, 1, _CLONE_NEW_ANYTHING), refuse)
    code += _argument_rule(_SOCKETPAIR[column], 0, (_JEQ, 1, 0, _AF_UNIX), refuse)
    code += _argument_rule(_PRLIMIT[column], 0, (_JEQ, 1, 0, 0), refuse)
    for request in (_TIOCSTI, _TIOCLINUX):
        code += _argument_rule(_IOCTL[column], 1, (_JEQ, 0, 1, request), refuse)
    if own_signals_only:
        for numbers in _SIGNALLING.values():
            number = numbers[column]
            assert number is not None
            code += _argument_rule(number, 0, (_JEQ, 1, 0, os.getpid()), refuse)
    code.append((_RETURN, 0, 0, _ALLOW))
    return code


def _argument_rule(number: int, argument: int, test: Instruction, verdict: int) -> list[Instruction]:
    """Refuse a call by the low half of one argument; `test` goes to the next instruction where it is to be refused."""
    return [
        (_JEQ, 0, 4, number),
        (_LOAD, 0, 0, _ARGS_OFFSET + 8 * argument),
        test,
        (_RETURN, 0, 0, verdict),
        (_LOAD, 0, 0, _NR_OFFSET),
    ]


class _Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filters", ctypes.POINTER(_Filter))]


class Prepared:
    """A filter laid out in memory as the kernel reads it: made once, for to make it again would cost every job."""

    def __init__(self, instructions: list[Instruction]) -> None:
        self._filters = (_Filter * len(instructions))(*[_Filter(*instruction) for instruction in instructions])
        self._program = _Program(len(instructions), self._filters)
        self._address = ctypes.addressof(self._program)

    def install(self) -> None:
        """Filter this process and all that it starts, for good; needs `forbid_new_privileges` before."""
        kernel.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, self._address)
