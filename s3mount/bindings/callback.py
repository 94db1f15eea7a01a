"""What a callback by ctypes needs, whichever library makes it: Python state that lasts, memory that is not copied.

Used by fuse.py and winfsp_ctypes.py on the threads of libfuse and WinFsp.
"""

import ctypes
import threading

_PyBUF_READ = 0x100
_thread = threading.local()
_view = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)


def keep_thread_state() -> None:
    """Make this thread's Python state outlive the callback. ctypes would build and drop one for each call, and with it
    everything in a threading.local; keeping it makes calls 1.6 times as fast. The libraries keep their threads until
    the mount ends, so this is bounded by their number."""
    if not hasattr(_thread, "is_kept"):
        _thread.is_kept = True
        ctypes.pythonapi.PyGILState_Ensure()


def borrowed(address: int, size: int) -> memoryview:
    """Good until the callback returns, and only to read."""
    view: memoryview = _view(address, size, _PyBUF_READ)
    return view
