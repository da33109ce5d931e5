"""The client of nodes."""

from __future__ import annotations

import pathlib
import runpy

import pytest
from conftest import Node

import xfer


def test_files_go_and_come(node: Node, tmp_path: pathlib.Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(bytes(range(256)) * 10_000)
    with xfer.connect(node.link) as client:
        assert client.put(local, "there") == 2_560_000
        assert (node.root / "there").read_bytes() == local.read_bytes()
        entry = client.stat("there")
        assert (entry.kind, entry.size) == ("file", 2_560_000)
        assert entry.path in [one.path for one in client.ls()]
        assert client.get("there", tmp_path / "back") == 2_560_000
        assert (tmp_path / "back").read_bytes() == local.read_bytes()
        assert client.cat("there", 255, 258) == b"\xff\x00\x01"
        assert client.cat("there", -1) == b"\xff"


def test_what_changed_is_read_anew(node: Node) -> None:
    file = node.root / "changing"
    with xfer.connect(node.link) as client:
        for text in (b"one", b"other"):
            file.write_bytes(text)
            assert client.cat("changing") == text


def test_files_are_opened(node: Node) -> None:
    with xfer.connect(node.link) as client:
        with client.open("opened", "wb") as file:
            file.write(b"0123456789")
        with client.open("opened") as file:
            assert file.read(3) == b"012"
            file.seek(-2, 2)
            assert file.read() == b"89"
        with pytest.raises(KeyError), client.open("never", "wb") as file:
            file.write(b"half")
            raise KeyError
        with pytest.raises(FileNotFoundError):
            client.stat("never")


def test_errors_say_what_and_where(node: Node, tmp_path: pathlib.Path) -> None:
    with xfer.connect(node.link) as client:
        with pytest.raises(xfer.NotFoundError) as raised:
            client.get("none", tmp_path / "none")
        assert raised.value.object == "none" and isinstance(raised.value, FileNotFoundError)
        (tmp_path / "file").write_bytes(b"x")
        with pytest.raises(xfer.NotFoundError) as raised:
            client.put(tmp_path / "file", "no/such/parent")
        assert raised.value.side == "dst"
    with pytest.raises(xfer.ClosedError):
        client.ls()
    with pytest.raises(xfer.ArgumentError):
        xfer.connect("http://nowhere")
    host = node.link.rpartition(":")[0]
    with xfer.connect(f"{host}:1", timeout=0.2) as client, pytest.raises(xfer.UnreachableError):
        client.ls()


def test_the_dataset_goes_on_from_its_state(node: Node) -> None:
    folder = node.root / "samples"
    folder.mkdir()
    for at in range(4):
        (folder / str(at)).write_bytes(bytes([at]))
    example = runpy.run_path(str(pathlib.Path(__file__).parent.parent / "examples/dataset.py"))
    dataset = example["NodeFiles"](node.link, "samples")
    samples = iter(dataset)
    assert [next(samples) for _ in range(2)] == [("0", b"\0"), ("1", b"\1")]
    resumed = example["NodeFiles"](node.link, "samples")
    resumed.load_state_dict(dataset.state_dict())
    assert list(resumed) == [("2", b"\2"), ("3", b"\3")]
    assert len(list(resumed)) == 4
