"""Rules for a replicated register under random orders of messages, judged by the checker."""

import pytest

from mlsys.cap.checker import check
from mlsys.cap.rounds import NOTHING, RoundError, play


def write(client, value):
    newest = max((yield NOTHING))
    yield newest[0] + 1, client, value


def hasty_read():
    newest = max((yield NOTHING))
    return newest[2]


def careful_read():
    newest = max((yield NOTHING))
    yield newest
    return newest[2]


def test_the_newest_of_a_majority_is_not_enough():
    wrong = [check(play(hasty_read, write, s)).linearizable is False for s in range(150)]
    assert any(wrong) and not all(wrong)


@pytest.mark.parametrize(("replicas", "down"), [(3, ()), (3, (1,)), (5, (0, 4))])
def test_a_reader_that_writes_back_keeps_the_register_linearizable(replicas, down):
    for seed in range(60):
        history = play(careful_read, write, seed, replicas=replicas, down=down)
        assert check(history).linearizable
        assert sum(one.status == "ok" for one in history.operations()) > 5


def test_without_a_majority_nobody_is_answered():
    history = play(careful_read, write, 1, down=(0, 1))
    assert not any(one.status == "ok" for one in history.operations())


def test_the_same_seed_gives_the_same_history():
    assert play(hasty_read, write, 4) == play(hasty_read, write, 4)
    assert play(hasty_read, write, 4) != play(hasty_read, write, 5)


def test_a_program_that_is_none_is_refused_with_a_sentence():
    with pytest.raises(RoundError, match="read must be a generator"):
        play(lambda: 3, write, 0)

    def odd():
        yield "newest?"

    with pytest.raises(RoundError, match="tell a version"):
        play(odd, write, 0)
