"""Run a command in processes of its own, kill them at chosen calls, and give the command again.

    kill_worker.py POINTS WORD...

POINTS is JSON: [[folder of the run, "module:function", n], ...]; each run is killed when the function is called for the
n-th time, and then repeated undisturbed. A null instead of the function leaves out the killed run. Every WORD is one of
the command line. Prints the exit statuses of the undisturbed runs as JSON. All processes are forks of this one, which
has imported what they need: that saves seconds for each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pydoc import locate

from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

import nnunetv2_sa_unet.segmentation.run  # noqa: F401 imported for the forks
from nnunetv2_sa_unet.commands.main import main
from nnunetv2_sa_unet.nnunet.trainers import nnUNetTrainerSAUNet


def run(words: list[str], function: str | None = None, nth: int = 0) -> int:
    """The status of a fork that runs the command, as a shell has it: -9 if it was killed."""
    child = os.fork()
    if not child:
        # A fork that fails must not go on as if it were the parent.
        status = 99
        try:
            if function is not None:
                kill_at(function, nth)
            status = main(words)
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(function: str, nth: int) -> None:
    """Let this process end at once when the function is called for the n-th time."""
    owner, _, name = function.rpartition(".")
    target = locate(owner)
    original, calls = getattr(target, name), 0

    def deadly(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)

    setattr(target, name, deadly)


if __name__ == "__main__":
    # nnU-Net's search imports all trainers there are.
    recursive_find_trainer_class_by_name(nnUNetTrainerSAUNet.__name__)
    points, words = json.loads(sys.argv[1]), sys.argv[2:]
    statuses = []
    # What the runs print comes before.
    for folder, function, nth in points:
        if function is not None:
            killed = run([*words, "-o", folder], function, nth)
            if killed != -signal.SIGKILL:
                sys.exit(f"{function} {nth}: ended with status {killed} and was not killed")
        statuses.append(run([*words, "-o", folder]))
    print(json.dumps(statuses))
