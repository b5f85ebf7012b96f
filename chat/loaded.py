"""What a process that runs for long does when all that it needs is loaded."""

import ctypes
import gc


def settle() -> None:
    """Look through what was loaded for garbage no more, and give back the memory that only the loading took.

    It is there to stay: to look through it again and again holds up every answer and every socket, for 0.1 s and more.
    To load it takes up to 11 MB beyond what is kept, in pieces that the C library keeps for itself unless it is asked.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)
