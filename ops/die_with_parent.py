"""`python -I -S die_with_parent.py PARENT_PID COMMAND...` becomes COMMAND, which gets SIGTERM when its parent dies.

A script of its own and not a `preexec_fn`: that runs Python between fork and exec, which can deadlock in a process with
threads. The kernel keeps the wish across exec. It follows the parent *thread*: start from one that lives as long as the
server is wanted. SIGTERM, not SIGKILL: the server then removes its own shared memory.
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
