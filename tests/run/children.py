"""Runs in processes of their own, started from a warm process without threads, so that a test may kill them."""

import multiprocessing
import os
import signal
import sys

from distill3d.run.progress import Progress

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["distill3d.run.api", "distill3d.cli", "fit_image", "torch._dynamo"])


def run(**values):
    """A whole run, quietly."""
    from distill3d.run.api import run

    return run(progress=Progress(quiet=True), **values)


def start(function, *args, **kwargs):
    process = context.Process(target=function, args=args, kwargs=kwargs)
    process.start()
    return process


def command(words, output):
    """`distill3d WORDS`, its two streams in the file `output`, its exit code as the process's."""
    from distill3d.cli import main

    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        code = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def run_killed_at(call, **values):
    """A run that kills itself, with no chance to clean up, just before its `call`-th fsync, rename or rmtree."""
    import shutil

    left = [call]

    def counted(function):
        def wrapper(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapper

    for module, name in ((os, "fsync"), (os, "replace"), (os, "rename"), (shutil, "rmtree")):
        setattr(module, name, counted(getattr(module, name)))
    run(**values)
