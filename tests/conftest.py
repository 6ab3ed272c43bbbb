"""Test processes side by side take one thread each: two that wait for each other are slower than one."""

import os

from distill3d.core.threads import use_threads

if "PYTEST_XDIST_WORKER" in os.environ:
    use_threads(1)
