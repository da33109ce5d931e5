"""The library that the build puts beside this package as `_native`: its functions and constants, and cffi's view of its structs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_native = import_module("xfer._native")

#: cffi's `FFI` with the declarations of xfer.h.
ffi: Any = _native.ffi
#: The functions and constants of xfer.h.
lib: Any = _native.lib
