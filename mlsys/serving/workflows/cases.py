"""Eight products for the exercise of the three workflows, and what speaks against the workflows
that do not fit them; the lesson tells what each product is. A workflow without an entry fits.
"""

from __future__ import annotations

from collections.abc import Mapping

WORKFLOWS = ("look-up", "device", "service")

CASES: Mapping[str, Mapping[str, str]] = {
    "book shop": {
        "device": "the ratings of all customers would have to be on each customer's device",
        "service": "the customers are known the night before and the list may be a day old: "
        "a process that waits all day, and the page that waits for it, buy nothing",
    },
    "delivery time": {
        "look-up": "last night's row knows nothing of this minute's traffic, and the order "
        "did not exist then",
        "device": "the couriers' places and the traffic are on the servers, so the phone "
        "would have to ask them anyway",
    },
    "face unlock": {
        "look-up": "the picture does not exist before the owner looks at the phone",
        "service": "there is no network in the lift, and the picture would leave the phone",
    },
    "mail spam": {
        "look-up": "a mail that arrives now had no row last night",
        "device": "spammers could take the model apart at home, and millions of devices would "
        "need the new one each day",
    },
    "drone": {
        "look-up": "the next frame cannot be scored before it is seen",
        "service": "when the link drops, the drone flies on without an answer",
    },
    "card payment": {
        "look-up": "the payment is new, and the last hour is not in last night's table",
        "device": "the till does not know what the card paid for elsewhere, and a thief who "
        "has a till would have the model",
    },
    "cancellation letters": {
        "device": "the letters are written at the company, not on the customers' devices",
        "service": "nobody asks between two letters: the service would wait for a month, to "
        "compute what one job computes in minutes",
    },
    "long documents": {
        "look-up": "a document that nobody has seen cannot have been translated last night",
        "device": "80 GB do not fit into a lawyer's laptop, let alone a phone",
    },
}


def objection(case: str, workflow: str | None) -> str:
    """Why this workflow does not fit the case, or "" when it does.

    Raises ValueError for a case or a workflow that there is not.
    """
    if case not in CASES:
        raise ValueError(f"There is no case {case!r}; there are {', '.join(CASES)}.")
    if workflow not in WORKFLOWS:
        raise ValueError(
            f"{case}: {workflow!r} is no workflow; choose one of {', '.join(WORKFLOWS)}."
        )
    why = CASES[case].get(workflow)
    return f"{case}: {workflow} does not fit, for {why}." if why else ""
