"""Ends that talk over loopback, and a node in a process of its own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import xfer


@dataclass
class Pair:
    """A connection within this process: each end has an engine."""

    here: xfer.Engine
    there: xfer.Engine
    receiver: xfer.Receiver
    sender: xfer.Sender


@pytest.fixture
def pair() -> Iterator[Pair]:
    secret = xfer.secret()
    with xfer.Engine(listen="127.0.0.1:0", workers=1) as here, xfer.Engine(workers=1) as there:
        yield Pair(here, there, here.admit(secret), there.connect(here.addresses, secret))


@dataclass
class Node:
    """A node: its link, and the folder that it serves."""

    link: str
    root: pathlib.Path


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    program = os.environ.get("XFERCTL_BIN")
    assert program, "XFERCTL_BIN names no xferctl: `cargo xtask test` builds one"
    base = tmp_path_factory.mktemp("node")
    root, file = base / "root", base / "link"
    root.mkdir()
    words = [program, "--quiet", "serve", "--root", root, "--listen", "127.0.0.1:0", "--state", base / "state", "--link-file", file]
    # The tests of fsspec make more calls than a client of a node usually may.
    words += ["--max-calls-per-client", "1000000"]
    with subprocess.Popen(words) as process:
        try:
            end = time.monotonic() + 30
            while not (file.exists() and file.read_text().endswith("\n")):
                assert process.poll() is None and time.monotonic() < end, "the node did not start"
                time.sleep(0.01)
            yield Node(file.read_text().strip(), root)
        finally:
            process.terminate()
            process.wait(30)
