"""Test processes side by side take one thread each: two that wait for each other are slower than one."""

import os

import numba
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    numba.set_num_threads(1)
