"""The shim as a process: its requests, its socket, and the forkserver.

May import execution/, loading/, frameworks/ and preloading/.
"""

__all__ = []
