"""Seccomp: a filter that refuses, with "not permitted", the system calls that no student needs and
that attacks begin with: other processes' memory, mounts, new namespaces, kernel modules, keys,
shared memory that outlives a process, raw sockets. A classic BPF program, written by hand.
"""

import ctypes
import errno
import struct

from autograde.sandbox import kernel

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Name: number on x86_64, on aarch64 (None: not there).
_REFUSED = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "move_mount": (429, 429), "open_tree": (428, 428), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "setns": (308, 268), "unshare": (272, 97),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "syslog": (103, 116),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "iopl": (172, None), "ioperm": (173, None),
    "modify_ldt": (154, None), "personality": (135, 92), "vhangup": (153, 58),
    "lookup_dcookie": (212, 18), "fanotify_init": (300, 262), "setuid": (105, 146),
}  # fmt: skip
# What changes other processes of the same user, unless so many first arguments are 0. ZeroMQ asks
# for a thread's schedule, and goes on only if there is no such call at all.
_OF_OTHERS = {
    "prlimit64": (302, 261, 1), "sched_setparam": (142, 118, 1), "setpriority": (141, 140, 2),
    "sched_setscheduler": (144, 119, 1), "sched_setaffinity": (203, 122, 1),
    "sched_setattr": (314, 274, 1), "ioprio_set": (251, 30, 2),
}  # fmt: skip
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)
_NEW_NAMESPACES = 0x7E020000
_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000
_INET, _INET6, _NETLINK = 2, 10, 16


def is_supported() -> bool:
    """Whether this kernel filters and this machine's numbers are known."""
    if not kernel.LINUX or kernel.MACHINE not in _ARCHITECTURES:
        return False
    try:
        kernel.prctl(kernel.PR_GET_SECCOMP)
    except OSError:
        return False
    return True


def restrict(*, network: bool, alone: bool) -> None:
    """Put the filter on. `network` leaves internet sockets (an empty network namespace); `alone`
    leaves limits and priorities of other processes (no others can be reached).
    """
    install(_program(network, alone))


def install(steps: list[bytes]) -> None:
    """Put a filter of these steps on this process, which must have no_new_privs."""
    program = b"".join(steps)
    buffer = ctypes.create_string_buffer(program, len(program))
    filters = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(filters, len(filters))
    kernel.prctl(kernel.PR_SET_SECCOMP, 2, ctypes.byref(holder))


def step(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; `yes` and `no` are how many steps a comparison skips. (seccomp(2))"""
    return struct.pack("HBBI", code, yes, no, k)


def _program(network: bool, alone: bool) -> list[bytes]:
    which = 0 if kernel.MACHINE == "x86_64" else 1
    refuse = step(_RETURN, _ERROR | errno.EPERM)
    steps = [
        step(_LOAD, 4),
        step(_JUMP_EQ, _ARCHITECTURES[kernel.MACHINE], 1, 0),
        step(_RETURN, _KILL),
        step(_LOAD, 0),
    ]
    if which == 0:  # the x32 numbers are another way to the same calls
        steps += [step(_JUMP_GE, 0x40000000, 0, 1), refuse]
    for numbers in _REFUSED.values():
        if numbers[which] is not None:
            steps += [step(_JUMP_EQ, numbers[which], 0, 1), refuse]
    unknown = step(_RETURN, _ERROR | errno.ENOSYS)
    for *numbers, count in () if alone else _OF_OTHERS.values():
        steps.append(step(_JUMP_EQ, numbers[which], 0, 3 * count + 1))
        for place in range(count):
            steps += [step(_LOAD, 16 + 8 * place), step(_JUMP_EQ, 0, 1, 0), unknown]
        steps.append(step(_LOAD, 0))
    # The C library falls back to clone, whose flags can be read.
    steps += [step(_JUMP_EQ, _CLONE3[which], 0, 1), unknown]
    steps += [
        step(_JUMP_EQ, _CLONE[which], 0, 3),
        step(_LOAD, 16),
        step(_JUMP_SET, _NEW_NAMESPACES, 0, 1),
        refuse,
        step(_LOAD, 0),
    ]
    # No Unix sockets but in pairs: neither an empty network nor Landlock keeps a process from those
    # of agents and desktops on this machine, which would start programs outside for it.
    # Who asks for the list of networks is told that there is none to be had: ZeroMQ goes on then.
    families = (_INET, _INET6) if network else ()
    steps += [step(_JUMP_EQ, _SOCKET[which], 0, len(families) + 4), step(_LOAD, 16)]
    for i, family in enumerate(families):
        steps.append(step(_JUMP_EQ, family, len(families) - i + 2, 0))
    steps += [step(_JUMP_EQ, _NETLINK, 0, 1), step(_RETURN, _ERROR | errno.EOPNOTSUPP)]
    steps += [refuse, step(_RETURN, _ALLOW)]
    return steps
