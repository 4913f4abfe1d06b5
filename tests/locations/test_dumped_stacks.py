"""A dump that a client asks for is told apart from what the team's code writes meanwhile."""

from __future__ import annotations

import pytest

from supervisor.locations.dumped_stacks import DumpedStacks

DUMP = b"""\
Thread 0x00007f8b2e65eb80 [worker] (most recent call first):
  File "/team/a.py", line 3 in wait
  ...

Current thread 0x00007f8b2e65eb81 (most recent call first):
  File "/team/b.py", line 1 in <module>
  <truncated>
"""


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_dump_is_taken_out_and_nothing_else(size: int) -> None:
    whole = b"began\nhalf" + DUMP + b'of a line\n  File "team\'s own"\n\nno end'
    found, left = DumpedStacks(), b""
    for start in range(0, len(whole), size):
        left += found.without(whole[start : start + size])
    assert left + found.left() == b'began\nhalfof a line\n  File "team\'s own"\n\nno end'
    assert found.left() == b""
    assert found.lines == DUMP.decode().splitlines()
