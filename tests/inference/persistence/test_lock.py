"""One process at a time trains into a folder; one that was killed keeps nobody out."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from ppvae.inference.persistence import LOCK, Lock

HOLDER = """
import fcntl, os, socket, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.write(file, f"{os.getpid()} {socket.gethostname()}\\n".encode())
if len(sys.argv) > 2 and os.fork() == 0:  # as a loader's worker, which outlives its parent
    os.setsid()
    time.sleep(0.4)
    os._exit(0)
print("locked", flush=True)
time.sleep(60)
"""


def holding(folder, *words):
    """Start a process that holds the lock of a folder."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", HOLDER, str(folder / LOCK), *words], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"locked\n"
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_another_process_is_refused_by_its_number_and_host(tmp_path):
    process = holding(tmp_path)
    try:
        with pytest.raises(OSError) as error, Lock(tmp_path):
            pass
    finally:
        kill(process)
    assert error.value.strerror == (
        f"process {process.pid} on {socket.gethostname()} trains into this folder; wait until it "
        "has ended, or end it"
    )
    assert error.value.filename == str(tmp_path) and error.value.errno == errno.EBUSY
    assert (tmp_path / LOCK).exists()  # the killed process has left it, which locks nothing
    with Lock(tmp_path):
        assert (tmp_path / LOCK).read_text().split() == [str(os.getpid()), socket.gethostname()]
    assert not [*tmp_path.iterdir()]


def test_what_a_killed_process_has_started_is_waited_for(tmp_path):
    process = holding(tmp_path, "with a worker")
    kill(process)
    started = time.monotonic()
    with Lock(tmp_path):
        assert time.monotonic() - started < 5


def test_one_object_enters_twice_in_one_thread_only(tmp_path):
    lock, refused = Lock(tmp_path / "new" / "run"), []

    def enter():
        try:
            with lock:
                pass
        except OSError as error:
            refused.append(error)

    with lock:
        with lock:
            assert lock.path.exists()
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        assert len(refused) == 1 and lock.path.exists()
        with pytest.raises(OSError), Lock(lock.path.parent):
            pass
    assert not [*tmp_path.iterdir()]  # folders that were made for the lock alone
    with lock:
        pass


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, caplog):
    def without(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", without)
    with Lock(tmp_path), Lock(tmp_path):
        pass
    assert [record.getMessage() for record in caplog.records] == 2 * [
        f"{tmp_path} is not locked, since its file system has no locks (No locks available): "
        "start no second training there meanwhile"
    ]


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / LOCK).symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="a symbolic link"), Lock(tmp_path):
        pass
    assert (tmp_path / "theirs").read_text() == "theirs"
