"""A file system for fsspec, by the protocol "xfer": pandas, pyarrow, zarr and dask read and write files of a node by it.

    fsspec.open("xfer://TOKEN.FINGERPRINT@HOST:PORT/dir/file.csv")      # the node's link, and a path
    fsspec.filesystem("xfer", link="xfer://...").ls("dir")

A node gives no way to remove, rename or append. An open file reads ahead as fsspec is told to (`block_size`, `cache_type`); a range that is named by
`cat_file` or `cat_ranges` is read as it is.
"""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from ._ranges import same
from .client import Client, Entry

#: A link with what follows: token and fingerprint of 32 bytes each, in base64, and addresses.
_LINK = re.compile(r"(xfer://[\w-]{43}\.[\w-]{43}@[^/]+)(?:/(.*))?", re.DOTALL)


class XferFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Files of one node. Paths are relative to its root; what fails raises `xfer.XferError`, which is an `OSError`."""

    protocol = "xfer"
    root_marker = ""

    def __init__(self, link: str, timeout: float = 10, **options: Any) -> None:
        """Opens a client of the node with that link; `timeout` is how many seconds no address of it may answer."""
        super().__init__(link=link, timeout=timeout, **options)
        self.client = Client(link, timeout=timeout)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        path = os.fspath(path)
        link = _LINK.fullmatch(path)
        if link is not None:
            path = link[2] or ""
        return path.removeprefix("xfer://").strip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        link = _LINK.fullmatch(path)
        return {} if link is None else {"link": link[1]}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size in bytes, type, modification time and mode of a file or directory."""
        path = self._strip_protocol(path)
        return _info(path, self.client.stat(path))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is in a directory, or the file itself: names, or with `detail` what `info` tells of each."""
        path = self._strip_protocol(path)
        entry = self.client.stat(path)
        if entry.kind == "directory":
            found = [_info(f"{path}/{one.path}" if path else one.path, one) for one in self.client.ls(path)]
        else:
            found = [_info(path, entry)]
        return found if detail else [one["name"] for one in found]

    def modified(self, path: str) -> Any:
        """When a file was changed last, with its time zone."""
        from datetime import datetime, timezone

        return datetime.fromtimestamp(self.info(path)["mtime"], tz=timezone.utc)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Makes a directory, with `create_parents` also those above it. Raises FileExistsError where it is there."""
        path = self._strip_protocol(path)
        if self.exists(path):
            raise FileExistsError(17, "is there already", path)
        parent = self._parent(path)
        if create_parents and parent and not self.exists(parent):
            self.mkdir(parent)
        with tempfile.TemporaryDirectory(prefix="xfer-") as empty:
            self.client.put(empty, path, recursive=True)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Makes a directory and those above it."""
        if not (exist_ok and self.isdir(path)):
            self.mkdir(path)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Content of a file, or a range of it; as `xfer.Client.cat`."""
        return self.client.cat(self._strip_protocol(path), start, end)

    def cat_ranges(
        self, paths: list[str], starts: Any, ends: Any, max_gap: int | None = None, on_error: str = "return", **_: Any
    ) -> list[Any]:
        """Many ranges at once; as `xfer.Client.cat_ranges`. With `on_error` "return" an exception stands in the place of what failed."""
        starts, ends = ([at] * len(paths) if at is None or isinstance(at, int) else list(at) for at in (starts, ends))
        if not len(paths) == len(starts) == len(ends):
            raise ValueError("as many paths, starts and ends")
        ranges = [(self._strip_protocol(path), start or 0, end) for path, start, end in zip(paths, starts, ends)]
        at_once = [at for at, (_, start, end) in enumerate(ranges) if start >= 0 and end is not None and end >= 0]
        found: list[Any] = [None] * len(ranges)
        for at, content in zip(at_once, self.client.cat_ranges(ranges[at] for at in at_once)):
            found[at] = content
        for at in set(range(len(ranges))).difference(at_once):
            try:
                found[at] = self.client.cat(*ranges[at])
            except OSError as failed:
                found[at] = failed
        failures = [one for one in found if isinstance(one, OSError)]
        if failures and on_error != "return":
            raise failures[0]
        return found

    def get_file(self, rpath: str, lpath: Any, callback: Any = None, outfile: Any = None, **_: Any) -> None:
        """Copies a file to a local path, or makes the directory there that it is."""
        path = self._strip_protocol(rpath)
        if hasattr(lpath, "write"):
            outfile = lpath
        if outfile is not None:
            outfile.write(self.client.cat(path))
        elif self.isdir(path):
            os.makedirs(lpath, exist_ok=True)
        else:
            local = os.fspath(lpath)
            os.makedirs(os.path.dirname(local) or ".", exist_ok=True)
            self.client.get(path, local)

    def put_file(self, lpath: Any, rpath: str, callback: Any = None, mode: str = "overwrite", **_: Any) -> None:
        """Copies a local file to a path of the node, with the directories above it, or makes the directory that it is."""
        path = self._strip_protocol(rpath)
        if mode == "create" and self.exists(path):
            raise FileExistsError(17, "is there already", path)
        if os.path.isdir(lpath):
            self.makedirs(path, exist_ok=True)
            return
        self._make_parent(path)
        self.client.put(lpath, path)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Writes a file whole."""
        with self._open(path, "xb" if mode == "create" else "wb") as file:
            file.write(value)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copies within the node, by way of this machine: a node has no such operation."""
        source, path = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(source):
            self.makedirs(path, exist_ok=True)
            return
        with tempfile.TemporaryDirectory(prefix="xfer-") as folder:
            local = os.path.join(folder, "object")
            self.client.get(source, local)
            self._make_parent(path)
            self.client.put(local, path)

    def touch(self, path: str, truncate: bool = True, **_: Any) -> None:
        """Makes an empty file."""
        if not truncate and self.exists(path):
            raise NotImplementedError("a node gives no way to change the times of a file")
        self.pipe_file(path, b"")

    def _rm(self, path: str) -> None:
        raise NotImplementedError("a node gives no way to remove files")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        path = self._strip_protocol(path)
        if mode == "rb":
            return XferFile(self, path, **options)
        if mode == "xb":
            if self.exists(path):
                raise FileExistsError(17, "is there already", path)
            mode = "wb"
        if mode == "wb":
            self._make_parent(path)
        return self.client.open(path, mode)

    def _make_parent(self, path: str) -> None:
        parent = self._parent(path)
        if parent:
            self.makedirs(parent, exist_ok=True)


class XferFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is read, ahead as fsspec is told to. It is one state of the file: when that changes on the node, reading raises a `DigestError`."""

    def __init__(self, fs: XferFileSystem, path: str, **options: Any) -> None:
        """Opens it: one round trip, which tells its size; `options` are those of fsspec."""
        _, self._version = fs.client._part(path, 0, 0)
        super().__init__(fs, path, "rb", **{**options, "size": self._version[0]})

    def _fetch_range(self, start: int, end: int) -> bytes:
        client: Client = self.fs.client
        content, version = client._part(self.path, start, max(end - start, 0))
        same(self.path, self._version, version)
        return content


def _info(name: str, entry: Entry) -> dict[str, Any]:
    kind = "link" if entry.kind == "symlink" else entry.kind
    return {"name": name, "size": entry.size, "type": kind, "mtime": entry.mtime_ns / 1e9, "mode": entry.mode}
