"""Other programs that are started here: installed if need be, and stopped with this process."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

HOST = "127.0.0.1"


def install(package: str) -> None:
    """Installs a package of Debian's, where this is root on Debian; elsewhere does nothing."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print(f"Installing {package} with apt-get ...", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Whether that worked, whoever needs the program finds out.
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", package]):
        subprocess.run(command, env=environment, capture_output=True)


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    """Returns whether something on this machine listens on a port."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


def stopped_with_parent(how: signal.Signals) -> Callable[[], None]:
    """Returns what a child runs before it becomes its program: asks Linux to send it a signal when
    its parent has died, however that was; elsewhere does nothing."""

    def ask() -> None:
        # What a shell starts with & ignores SIGINT, and its children then do, too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if sys.platform == "linux":
            pr_set_pdeathsig = 1
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, how)

    return ask
