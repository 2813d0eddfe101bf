"""`python -I -S die_with_parent.py PARENT_PID COMMAND...` executes COMMAND, which gets SIGTERM when its parent dies.

What COMMAND and its children create, other users of the machine cannot read: files through the umask, and the segments
in /dev/shm through a filter of system calls. Triton's Python backend makes its segments with boost::interprocess, which
sets their mode to 0644 with `fchmod` whatever the umask is; the filter answers that call with success without carrying
it out. A kernel without such filters runs COMMAND all the same, and the supervisor closes the segments once they exist.

A script instead of a `preexec_fn`, because a `preexec_fn` runs Python between fork and exec, which can deadlock in a
process with threads. The kernel keeps the settings across exec and applies the first when the parent *thread* ends:
start the command from a thread that lives as long as the server. SIGTERM, not SIGKILL, so that the server removes its
own shared memory.
"""

import ctypes
import os
import signal
import struct
import sys

PRIVATE_UMASK = 0o077
OPEN_MODE = 0o644  # boost/interprocess/permissions.hpp
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h
# linux/seccomp.h. With the flag, kernels before 5.16 do not slow the processes down against Speculative Store Bypass.
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 4
# The call returns this error number, and 0 is success; the call is carried out.
RETURN_SUCCESS, RETURN_ALLOW = 0x00050000, 0x7FFF0000
# linux/bpf_common.h: load a word of the call's description, jump if it equals a number, return.
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
# Offsets in `struct seccomp_data`: number of the call, architecture, lower half of the second argument.
NUMBER, ARCHITECTURE, SECOND_ARGUMENT = 0, 4, 24
# Machine -> its AUDIT_ARCH_* (linux/audit.h), its numbers of `fchmod` and of `seccomp` (asm/unistd.h).
MACHINES = {"x86_64": (0xC000003E, 91, 317), "aarch64": (0xC00000B7, 52, 277)}


def keep_segments_private() -> None:
    """Makes `fchmod(file, 0644)` of this process and its children do nothing, where the kernel can."""
    machine = os.uname().machine
    if machine not in MACHINES:
        return
    architecture, fchmod, seccomp = MACHINES[machine]
    steps = [
        *((LOAD, 0, 0, ARCHITECTURE), (JUMP_IF_EQUAL, 0, 5, architecture)),
        *((LOAD, 0, 0, NUMBER), (JUMP_IF_EQUAL, 0, 3, fchmod)),
        *((LOAD, 0, 0, SECOND_ARGUMENT), (JUMP_IF_EQUAL, 0, 1, OPEN_MODE)),
        (RETURN, 0, 0, RETURN_SUCCESS),
        (RETURN, 0, 0, RETURN_ALLOW),
    ]
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(instructions)))
    library = ctypes.CDLL(None)
    if library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        library.syscall(seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, program)


if __name__ == "__main__":
    parent_pid, command = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent_pid:
        sys.exit("the parent died before the server started")
    os.umask(PRIVATE_UMASK)
    keep_segments_private()
    os.execv(command[0], command)
