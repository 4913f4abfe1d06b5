"""A stand-in for the class that opens an instance."""


class DagsterInstance:
    """Opened by both programs."""

    @staticmethod
    def from_ref() -> None:
        """Does nothing."""
