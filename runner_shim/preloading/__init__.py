"""What a forkserver imports before it forks, and how forked processes get it.

Only a forkserver and what is forked from it import this; it may import loading/, frameworks/ and process/.
"""

__all__ = []
