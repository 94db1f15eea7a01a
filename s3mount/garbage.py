"""FLOOR 0: when the interpreter looks for garbage.

Called where much is loaded at once, by one thread. What is loaded stays, so to look through it over and over while it
is loaded costs a tenth of a start and finds nothing.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def left_alone() -> Iterator[None]:
    """No garbage is looked for within the block."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def loaded_for_good() -> Iterator[None]:
    """The same, and what is there at its end is never looked through: not while file operations wait for it either.
    Garbage is looked for from here on, whatever block this one is in."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
