"""A plan or a release that nobody can account for."""


class PlanError(ValueError):
    """A plan or release that cannot be accounted for."""

    def __init__(self, release: str, problem: str) -> None:
        """Name the release and what is wrong with it, remedy included."""
        super().__init__(f"release {release!r}: {problem}")
        self.release = release
        self.problem = problem
