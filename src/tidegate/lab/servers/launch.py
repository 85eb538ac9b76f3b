"""Becomes the program that it is told to be, as the user it is told, and dies with its parent.

    python -I -S launch.py PARENT UID|- PROGRAM [ARGUMENT...]

A program of its own, not code between fork and exec: that isn't safe where the parent has threads.
It imports nothing of tidegate, so that it starts in a few milliseconds.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, user, *argv = sys.argv[1:]
    if user != "-":
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    # after setuid, which clears it
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before the line above
        sys.exit(1)
    try:
        os.execv(argv[0], argv)  # noqa: S606 - that is what it is for
    except OSError as error:
        sys.exit(f"{argv[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
