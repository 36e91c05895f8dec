"""A forked process computes with one thread."""

import os

import pytest
import torch

import ppvae.engine  # noqa: F401


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_computes_with_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        child = os.fork()
        if child == 0:
            os._exit(torch.get_num_threads())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
