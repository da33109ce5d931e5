"""Where received files go: a folder. No name leaves it: the wire's names are checked, and symlinks are made last, so
that nothing is written through one of the transfer. Modes, times and attributes are not kept."""

import os

from . import messages


class Tree:
    def __init__(self, folder):
        self.folder = os.fsencode(folder)
        os.makedirs(self.folder, exist_ok=True)

    def _path(self, entry):
        path = os.path.join(self.folder, entry.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def make(self, entry, content):
        """A directory, a symlink, or a file that is all in `content`."""
        if entry.kind == messages.DIRECTORY:
            os.makedirs(self._path(entry), exist_ok=True)
        elif entry.kind == messages.SYMLINK:
            path = self._path(entry)
            if os.path.islink(path):
                os.unlink(path)
            os.symlink(entry.target, path)
        else:
            with open(self._open(entry, os.O_TRUNC), "wb") as file:
                file.write(content)

    def _open(self, entry, flags=0):
        return os.open(self._path(entry), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o644)

    def write(self, entry, offset, data):
        """A piece of a file; the file has its full size from the first one on."""
        fd = self._open(entry)
        try:
            os.ftruncate(fd, entry.size)
            while data:
                written = os.pwrite(fd, data, offset)
                data, offset = data[written:], offset + written
        finally:
            os.close(fd)
