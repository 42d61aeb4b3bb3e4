"""What can happen to a model's traffic, told as stories; `traffic` makes the rows.

All scenes are of one mail gateway whose classifier guesses spam. Each says what happens, from which
day on, and which view of a monitor can show it and which cannot.
"""

from collections.abc import Mapping
from dataclasses import dataclass

DAYS = 28
CHANGE_DAY = 14.0


@dataclass(frozen=True)
class Scene:
    """A story with the true moment of change.

    `change_day` counts from the first live moment, None when nothing changes; `ramp_days` is how
    long the change takes to be complete. `kind` is what the textbooks call it. `shown_by` and
    `hidden_from` name views: inputs, quality, predictions, estimate (without labels), labels.
    """

    name: str
    title: str
    story: str
    kind: str
    change_day: float | None
    ramp_days: float = 0.0
    shown_by: tuple[str, ...] = ()
    hidden_from: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


_ALL = (
    Scene(
        "healthy",
        "Nothing happens",
        "Four weeks of ordinary mail. Whatever alarms here is a false alarm.",
        "none",
        None,
    ),
    Scene(
        "seasonal",
        "Weekends",
        "At weekends people write from their phones, short mails to few people; the reference "
        "has whole weeks, so it knows. A window of one day compared with it drifts twice a week, "
        "and nothing is wrong.",
        "none",
        None,
        shown_by=("inputs",),
    ),
    Scene(
        "covariate",
        "A new market",
        "Overnight a partner in Brazil joins: young accounts, long mails by programs. The same "
        "mail is still spam or not for the same reasons, but more of it is hard to tell.",
        "covariate shift",
        CHANGE_DAY,
        shown_by=("inputs", "predictions", "estimate", "labels"),
        columns=("country", "client", "size_kb", "sender_age_days"),
    ),
    Scene(
        "gradual",
        "Mails grow",
        "Over two weeks senders move to a program that adds pictures and links. No day differs "
        "much from the day before it.",
        "covariate shift",
        7.0,
        ramp_days=14.0,
        shown_by=("inputs", "predictions", "estimate"),
        columns=("size_kb", "links"),
    ),
    Scene(
        "label_shift",
        "A wave of spam",
        "A botnet wakes up: the share of spam doubles, and each spam looks as spam always did.",
        "label shift",
        CHANGE_DAY,
        shown_by=("inputs", "predictions", "labels"),
        columns=("links", "sender_age_days", "capitals"),
    ),
    Scene(
        "concept",
        "People change their minds",
        "Automatic mail that everybody wanted is now reported as spam. No input moves, no score "
        "moves, the estimate without labels stays; only labels tell, and they come days later.",
        "concept drift",
        CHANGE_DAY,
        shown_by=("labels",),
        hidden_from=("inputs", "quality", "predictions", "estimate"),
    ),
    Scene(
        "units",
        "Bytes for kilobytes",
        "A release of the mail server sends the size in bytes; the column is still called size_kb.",
        "broken pipeline",
        CHANGE_DAY,
        shown_by=("inputs", "quality", "predictions", "labels"),
        columns=("size_kb",),
    ),
    Scene(
        "null_column",
        "A column falls silent",
        "The service that knows how old an account is stops answering: the column is empty, the "
        "model puts in its median and carries on.",
        "broken pipeline",
        CHANGE_DAY,
        shown_by=("inputs", "quality", "labels"),
        columns=("sender_age_days",),
    ),
    Scene(
        "renamed",
        "A category gets a new name",
        'The app\'s new version calls itself "mobile" where it said "phone"; to the model that is '
        "a word it never saw.",
        "broken pipeline",
        CHANGE_DAY,
        shown_by=("inputs", "quality"),
        columns=("client",),
    ),
    Scene(
        "adversarial",
        "Spammers learn",
        "Those who send spam notice what is caught: fewer links, no capitals, bought accounts that "
        "are years old. The rest of the mail does not change.",
        "adversarial drift",
        CHANGE_DAY,
        ramp_days=3.0,
        shown_by=("inputs", "labels"),
        hidden_from=("estimate",),
        columns=("links", "capitals", "sender_age_days"),
    ),
)

SCENES: Mapping[str, Scene] = {scene.name: scene for scene in _ALL}
