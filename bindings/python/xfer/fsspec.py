"""A file system for fsspec, by the protocol "xfer": pandas, pyarrow, zarr and dask read and write files of a node by it.

    fsspec.open("xfer://TOKEN.FINGERPRINT@HOST:PORT/dir/file.csv")      # the node's link, and a path
    fsspec.filesystem("xfer", link="xfer://...").ls("dir")

A node gives no way to remove, rename or append. Ranges are read from a copy of the whole file; see `xfer.client`.
"""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

from fsspec.spec import AbstractFileSystem

from .client import Client, Entry, File

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
        """Content of a file, or a range of it; the whole file is fetched once."""
        return self.client.cat(self._strip_protocol(path), start, end)

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

    def _open(self, path: str, mode: str = "rb", **_: Any) -> File:
        path = self._strip_protocol(path)
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


def _info(name: str, entry: Entry) -> dict[str, Any]:
    kind = "link" if entry.kind == "symlink" else entry.kind
    return {"name": name, "size": entry.size, "type": kind, "mtime": entry.mtime_ns / 1e9, "mode": entry.mode}
