"""What a policy says where it does not permit: one sentence with the rule, what was asked, and the limit."""

EXIT_REFUSED = 1
EXIT_BUDGET = 4
REMEDY = "change the study, or let the hospital's data protection officer change the policy"


class PolicyRefusal(Exception):
    """The hospital's policy does not permit what a study asks.

    Attributes:
        rule: the key of policy.toml that decides.
        asked: what the study asks.
        limit: what the policy allows.
        spent: what earlier releases took, or "" where nothing is spent.
        exit_code: 1 for a rule, 4 for the budget.
    """

    def __init__(
        self,
        rule: str,
        asked: str,
        limit: str,
        spent: str = "",
        exit_code: int = EXIT_REFUSED,
        remedy: str = REMEDY,
    ) -> None:
        """Build the sentence from the parts."""
        before = f", {spent} is spent" if spent else ""
        super().__init__(f"policy.toml refuses by {rule}: asked {asked}, limit {limit}{before}; {remedy}")
        self.rule = rule
        self.asked = asked
        self.limit = limit
        self.spent = spent
        self.exit_code = exit_code
