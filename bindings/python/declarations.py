"""Writes what cffi reads of xfer.h: `declarations.py XFER_H OUT`. Comments and the preprocessor's conditions go, integer constants stay."""

import pathlib
import re
import sys


def declarations(header: str) -> str:
    """The declarations and integer constants of a C header, for `cffi.FFI.cdef`."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.DOTALL)
    text = text.replace("UINT64_MAX", "0xffffffffffffffff")
    lines = [line for line in text.splitlines() if line.strip() and _is_declared(line)]
    return "\n".join(lines) + "\n"


def _is_declared(line: str) -> bool:
    return not line.startswith("#") or re.fullmatch(r"#define \w+ -?\w+", line) is not None


if __name__ == "__main__":
    source, out = map(pathlib.Path, sys.argv[1:])
    written = declarations(source.read_text(encoding="utf-8"))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(written, encoding="utf-8")
