"""The file system for fsspec: fsspec's own abstract suite, and what is particular to it."""

from __future__ import annotations

import pathlib
import pickle
import shutil
import uuid

import fsspec
import fsspec.tests.abstract as abstract
import pytest
from conftest import Node

from xfer.fsspec import XferFileSystem


class Fixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> XferFileSystem:
        # A node removes nothing: the suite's cleaning is done beneath its root.
        def remove(self: XferFileSystem, path: str | list[str], recursive: bool = False, **_: object) -> None:
            for one in self.expand_path(path):
                found = node.root / one
                if found.is_dir():
                    shutil.rmtree(found)
                else:
                    found.unlink()

        monkeypatch.setattr(XferFileSystem, "rm", remove)
        return fsspec.filesystem("xfer", link=node.link)

    @pytest.fixture
    def fs_path(self) -> str:
        return uuid.uuid4().hex


class TestCopy(abstract.AbstractCopyTests, Fixtures):
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    pass


def test_a_link_is_a_url(node: Node) -> None:
    (node.root / "numbers.csv").write_text("a,b\n1,2\n")
    with fsspec.open(f"{node.link}/numbers.csv", "r") as file:
        assert file.read() == "a,b\n1,2\n"


def test_ranges_and_listings(node: Node) -> None:
    fs = fsspec.filesystem("xfer", link=node.link)
    fs.pipe_file("ranges/data", bytes(range(256)))
    assert fs.cat_file("ranges/data", 10, 20) == bytes(range(10, 20))
    assert fs.cat_file("ranges/data", -2) == b"\xfe\xff"
    assert fs.ls("ranges", detail=False) == ["ranges/data"]
    assert fs.info("ranges/data")["size"] == 256
    with pytest.raises(FileNotFoundError):
        fs.info("ranges/none")


def test_many_ranges_and_blocks(node: Node) -> None:
    fs = fsspec.filesystem("xfer", link=node.link)
    content = bytes(range(256)) * 5_000
    fs.pipe_file("blocks", content)
    found = fs.cat_ranges(["blocks"] * 4 + ["none"], [0, 10, None, -4, 0], [5, 12, 3, None, 1])
    assert found[:4] == [content[:5], content[10:12], content[:3], content[-4:]]
    assert isinstance(found[4], FileNotFoundError)
    assert fs.cat_ranges(["blocks", "blocks"], 1, 3) == [content[1:3]] * 2
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(["none"], [0], [1], on_error="raise")
    for cache_type in ("none", "readahead", "bytes"):
        with fs.open("blocks", block_size=1 << 16, cache_type=cache_type) as file:
            file.seek(-5, 2)
            assert file.read() == content[-5:]
            file.seek(70_000)
            assert file.read(70_000) == content[70_000:140_000]
    (node.root / "to-blocks").symlink_to("blocks")
    with fs.open("to-blocks") as file:
        assert file.read() == content
        (node.root / "blocks").write_bytes(b"changed")
        file.cache = fsspec.caching.BaseCache(1, file._fetch_range, file.size)
        file.seek(0)
        with pytest.raises(OSError, match="changed"):
            file.read(3)


def test_it_is_pickled(node: Node, tmp_path: pathlib.Path) -> None:
    fs = fsspec.filesystem("xfer", link=node.link)
    fs.pipe_file("pickled", b"content")
    assert pickle.loads(pickle.dumps(fs)).cat_file("pickled") == b"content"


def test_removing_is_refused(node: Node) -> None:
    fs = fsspec.filesystem("xfer", link=node.link)
    fs.pipe_file("kept", b"content")
    with pytest.raises(NotImplementedError):
        fs.rm("kept")
