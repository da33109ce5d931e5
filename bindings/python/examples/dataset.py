"""A dataset of a node's files for training loops, with a state to go on from: `dataset.py LINK DIRECTORY`.

With torch it is a `torch.utils.data.IterableDataset`, whose workers are to be spawned, not forked; it works the same without.
"""

from __future__ import annotations

import sys
from typing import Any, Iterator

import xfer

try:
    from torch.utils.data import IterableDataset, get_worker_info
except ImportError:
    IterableDataset = object

    def get_worker_info() -> Any:
        return None


class NodeFiles(IterableDataset):  # type: ignore[misc]
    """The files beneath a directory of a node, in order of their names: each as its path and its content. Workers share them out."""

    def __init__(self, link: str, directory: str) -> None:
        self.link, self.directory, self.done = link, directory, 0

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        with xfer.connect(self.link) as client:
            files = sorted(entry.path for entry in client.ls(self.directory, recursive=True) if entry.kind == "file")
            for path in files[first + self.done * step :: step]:
                content = client.cat(f"{self.directory}/{path}")
                self.done += 1
                yield path, content
        self.done = 0

    def state_dict(self) -> dict[str, int]:
        """How many files of this worker's share were given."""
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on behind them."""
        self.done = state["done"]


if __name__ == "__main__":
    for path, content in NodeFiles(*sys.argv[1:]):
        print(path, len(content))
