"""`python -I -S die_with_parent.py PARENT_PID COMMAND...` executes COMMAND, which gets SIGTERM when its parent dies.

A script instead of a `preexec_fn`, because a `preexec_fn` runs Python between fork and exec, which can deadlock in a
process with threads. The kernel keeps the setting across exec and applies it when the parent *thread* ends: start the
command from a thread that lives as long as the server. SIGTERM, not SIGKILL, so that the server removes its own shared
memory.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h

if __name__ == "__main__":
    parent_pid, command = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent_pid:
        sys.exit("the parent died before the server started")
    os.execv(command[0], command)
