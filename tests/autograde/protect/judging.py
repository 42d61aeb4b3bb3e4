"""What a test's outcome means, in one word."""

from autograde.protect.supervisor import Outcome


def verdict(outcome: Outcome) -> str:
    """passed, review, or the name of the error."""
    if outcome.review:
        return "review"
    errors = [output.ename for output in outcome.outputs if output.output_type == "error"]
    return errors[-1] if errors else "passed"
