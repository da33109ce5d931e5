"""The client of nodes."""

from __future__ import annotations

import concurrent.futures
import pathlib
import random
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


def test_ranges_are_cut_where_the_file_ends(node: Node) -> None:
    content = bytes(at % 251 for at in range(3_000_000)) * 4
    (node.root / "ranged").write_bytes(content)
    size = len(content)
    with xfer.connect(node.link) as client:
        for start, end in [
            (None, None), (0, 0), (5, 3), (0, 1), (size - 1, size), (size - 1, size + 9), (size, size + 1), (size + 1, 1 << 62),
            (1, 1 << 20), (1, (1 << 20) + 1), (3, (8 << 20) + 3), (3, (8 << 20) + 4), (1, None), (-1, None), (None, -1), (-10, -5), (-size - 9, 4),
        ]:  # fmt: skip
            assert client.cat("ranged", start, end) == content[slice(start, end)], (start, end)
        ranges = [("ranged", at * 999, at * 999 + at) for at in range(5_000)] + [("none", 0, 1)]
        found = client.cat_ranges(ranges)
        assert all(one == content[start:end] for one, (_, start, end) in zip(found[:-1], ranges))
        assert isinstance(found[-1], xfer.NotFoundError)
        with pytest.raises(xfer.ArgumentError):
            client.cat_ranges([("ranged", -1, 4)])
        with pytest.raises(IsADirectoryError):
            client.cat("")
        (node.root / "outside").symlink_to("/etc/hosts")
        with pytest.raises(xfer.RefusedError):
            client.cat("outside", 0, 1)


def test_threads_read_at_once(node: Node) -> None:
    content = bytes(range(256)) * 1000
    (node.root / "shared").write_bytes(content)
    with xfer.connect(node.link) as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda at: client.cat("shared", at, at + 100), range(200))
        assert list(found) == [content[at : at + 100] for at in range(200)]


def test_a_file_that_changes_while_it_is_open_is_told(node: Node) -> None:
    path = node.root / "unsteady"
    path.write_bytes(bytes(1 << 20))
    with xfer.connect(node.link) as client, client.open("unsteady") as file:
        assert file.read(10) == bytes(10)
        path.write_bytes(b"x" * (1 << 20))
        file.seek(-10, 2)
        with pytest.raises(xfer.DigestError):
            file.read()


def test_what_is_read_on_and_on_is_read_ahead(node: Node) -> None:
    content = random.Random(1).randbytes(20_000_000)
    (node.root / "long").write_bytes(content)
    with xfer.connect(node.link) as client, client.open("long") as file:
        parts = []
        while part := file.read(100_000):
            parts.append(part)
        assert b"".join(parts) == content
        file.seek(7)
        assert file.read() == content[7:]
        for at in (19_999_990, 0, 64 << 10, 5_000_000):
            file.seek(at)
            assert file.read(30) == content[at : at + 30]
        file.seek(30_000_000)
        assert file.read() == b"" and file.read(3) == b""


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
