"""DLPack, both ways: memory of tensors that have no buffer protocol, and a capsule around memory of ours.

The structures are those of dlpack.h, version 0.8 (`DLManagedTensor`).
"""

from __future__ import annotations

import ctypes
from typing import Any

#: Device types whose memory this process can touch: kDLCPU, kDLCUDAHost (pinned), kDLROCMHost.
_HOST = (1, 3, 11)
_NAME = b"dltensor"
_UNSIGNED = 1


class _Device(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int32), ("id", ctypes.c_int32)]


class _Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Managed(ctypes.Structure):
    pass


_Deleter = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Managed))
_Managed._fields_ = [("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]

_Destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_api = ctypes.pythonapi
_capsule_new = _api.PyCapsule_New
_capsule_new.restype = ctypes.py_object
_capsule_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _Destructor]
# A capsule that is being destroyed is passed by address: counting references to it would bring it back.
_dying_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", _api))
_capsule_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))
_dying_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_GetPointer", _api))

#: What exported tensors hold on to, by the address of their structure.
_exported: dict[int, tuple[Any, ...]] = {}


def _delete(managed: Any) -> None:
    _exported.pop(ctypes.addressof(managed.contents), None)


def _destroy(capsule: int) -> None:
    # A consumer that took the tensor renamed the capsule, and deletes it itself.
    if _dying_is_valid(capsule, _NAME):
        _exported.pop(_dying_pointer(capsule, _NAME), None)


_deleter, _destructor = _Deleter(_delete), _Destructor(_destroy)


def export(owner: Any, address: int, length: int) -> Any:
    """A capsule of `length` bytes at `address`, one dimension of uint8, that keeps `owner` alive."""
    shape = (ctypes.c_int64 * 1)(length)
    managed = _Managed()
    tensor = managed.tensor
    tensor.data, tensor.device, tensor.ndim = address, _Device(1, 0), 1
    tensor.code, tensor.bits, tensor.lanes = _UNSIGNED, 8, 1
    tensor.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _deleter
    at = ctypes.addressof(managed)
    _exported[at] = (managed, shape, owner)
    return _capsule_new(at, _NAME, _destructor)


def imported(tensor: Any) -> tuple[Any, int, int]:
    """The capsule that keeps the memory of a tensor, its address and its length in bytes.

    Raises:
        ValueError: it is on another device, or not contiguous.
    """
    capsule = tensor.__dlpack__()
    managed = ctypes.cast(_capsule_pointer(capsule, _NAME), ctypes.POINTER(_Managed)).contents
    its = managed.tensor
    if its.device.type not in _HOST:
        raise ValueError(f"memory of DLPack device type {its.device.type} is not in this process: copy it to the host")
    count = 1
    for at in reversed(range(its.ndim)):
        if its.strides and its.shape[at] > 1 and its.strides[at] != count:
            raise ValueError("the tensor is not contiguous")
        count *= its.shape[at]
    return capsule, (its.data or 0) + its.byte_offset, count * ((its.bits * its.lanes + 7) // 8)
