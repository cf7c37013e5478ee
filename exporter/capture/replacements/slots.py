"""Undoing what CPython keeps after a method of a class was replaced and put back.

A class whose `__getitem__` was once set from Python stays a sequence to C code, whatever is deleted
later: `torch.tensor([x])` would then take an `x` of rank 0 for a list.  Checked on CPython 3.11.
"""

from __future__ import annotations

import ctypes

# Source: CPython's Include/cpython/object.h, PyTypeObject and PySequenceMethods.
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_SEQUENCE_METHODS = object.__basicsize__ + _POINTER + 10 * _POINTER
_ITEM = 3 * _POINTER


class _Indexed:
    def __getitem__(self, index: int) -> int:
        return index


class _Plain:
    pass


def forget_item_slot(kind: type) -> None:
    """Make instances of a class and its heirs, where these have no `__getitem__` of theirs, no sequences to C again.

    Where another Python lays its types out in another way, nothing is done.
    """
    indexed, plain = _item_slot(_Indexed), _item_slot(_Plain)
    slot = _item_slot(kind)
    if indexed.value and not plain.value and slot.value == indexed.value:
        slot.value = None
    heirs: list[type] = kind.__subclasses__()
    for heir in heirs:
        if "__getitem__" not in vars(heir):
            forget_item_slot(heir)


def _item_slot(kind: type) -> ctypes.c_void_p:
    methods = ctypes.c_void_p.from_address(id(kind) + _SEQUENCE_METHODS).value
    return ctypes.c_void_p.from_address((methods or 0) + _ITEM) if methods else ctypes.c_void_p()
