"""Two where one is allowed."""

from runner_shim import Definitions

one = Definitions()
two = Definitions()
