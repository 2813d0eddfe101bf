"""What is drawn, how answers are judged and how calls are counted, through a client whose server is played."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loadtest.corpus import Corpus, Drawer, Mix
from loadtest.errors import LoadTestError
from loadtest.golden import TOLERANCE, Answer, GoldenAnswers, read_golden, write_golden
from loadtest.tally import Tally
from loadtest.traffic import EMBED, NO_RETRY, RECOGNIZE, REFUSE, SEARCH, Traffic, answer_alone, count_calls
from triptych import Overloaded, UnreadableImage
from triptych.testing import FakeServer, fake_client

PHOTOS = {f"photo-{number}": bytes([number]) * 4000 for number in range(60)}


def make_traffic(tally: Tally, mix: Mix, alone: dict[tuple[str, str], Answer] | None = None) -> Traffic:
    return Traffic(Drawer(Corpus(PHOTOS), mix, seed=3), GoldenAnswers(alone), tally)


def test_photos_of_rank_r_are_drawn_in_proportion_to_one_over_r() -> None:
    drawer = Drawer(Corpus(PHOTOS), Mix(zipf=1.0, repeat_share=1.0, bad_share=0.0), seed=3)
    count = 20_000
    drawn = Counter(drawer.draw().key for _ in range(count))
    harmonic = sum(1 / rank for rank in range(1, len(PHOTOS) + 1))
    for rank in (1, 2, 5, 20):
        expected = count / rank / harmonic
        # Five standard deviations of a binomial: wrong once in a million seeds, and this seed is fixed.
        assert abs(drawn[f"photo-{rank - 1}"] - expected) < 5 * math.sqrt(expected), rank


def test_shares_of_repeats_and_bad_photos_are_those_asked_for() -> None:
    drawer = Drawer(Corpus(PHOTOS), Mix(repeat_share=0.3, bad_share=0.05), seed=3)
    drawn = [drawer.draw() for _ in range(5000)]
    bad = [draw for draw in drawn if draw.key is None]
    repeated = [draw for draw in drawn if draw.key is not None and draw.content == PHOTOS[draw.key]]
    assert len(bad) / 5000 == pytest.approx(0.05, abs=0.015)
    assert len(repeated) / (5000 - len(bad)) == pytest.approx(0.3, abs=0.03)
    fresh = [draw.content for draw in drawn if draw.key is not None and draw.content != PHOTOS[draw.key]]
    assert len(set(fresh)) == len(fresh)


def test_two_drawers_of_one_seed_draw_alike_and_never_the_same_fresh_photo() -> None:
    first, second = (Drawer(Corpus(PHOTOS), Mix(repeat_share=0.0, bad_share=0.0), seed=9) for _ in range(2))
    pairs = [(first.draw(), second.draw()) for _ in range(200)]
    assert all(mine.key == theirs.key and mine.content != theirs.content for mine, theirs in pairs)


@pytest.mark.parametrize("shares", [{"bad_share": -0.1}, {"repeat_share": 1.5}, {"zipf": -1.0}, {"zipf": math.nan}])
def test_mix_is_refused_when_a_share_is_none(shares: dict[str, float]) -> None:
    with pytest.raises(LoadTestError, match="expected shares from 0 to 1"):
        Mix(**shares)


def test_corpus_has_the_sizes_of_shops_and_is_the_same_when_read_again(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (32, 24), (number * 80, 10, 10)).save(tmp_path / f"photo{number}.jpg")
    made, again = Corpus.make(tmp_path, seed=5, count=12), Corpus.make(tmp_path, seed=5, count=12)
    assert made.photos == again.photos
    assert Corpus.make(tmp_path, seed=6, count=12).photos != made.photos
    assert len({key.rpartition("-")[2] for key in made.photos}) > 2
    folder = tmp_path / "prepared"
    folder.mkdir()
    made.write(folder)
    assert list(Corpus.read(folder).photos.items()) == list(made.photos.items())


def test_corpus_says_what_to_do_when_there_are_no_photos(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="Fetch the samples with `make photos`"):
        Corpus.make(tmp_path, seed=1)
    with pytest.raises(LoadTestError, match="No corpus can be read from"):
        Corpus.read(tmp_path)


def test_answers_are_counted_by_kind_when_all_is_well() -> None:
    tally = Tally(under_s=5)
    client = fake_client(FakeServer(), retry=NO_RETRY)
    client.catalogue.upsert("shoe", PHOTOS["photo-0"])
    alone = answer_alone(client, Corpus(PHOTOS), [RECOGNIZE, EMBED, SEARCH])
    traffic = make_traffic(tally, Mix(repeat_share=1.0, bad_share=0.0), alone)
    for kind in (RECOGNIZE, EMBED, SEARCH) * 5:
        assert traffic.call(client, kind).error is None
    assert {kind: tally.total([kind]).answered for kind in tally.kinds()} == {RECOGNIZE: 5, EMBED: 5, SEARCH: 5}
    assert count_calls(tally, searcher_asks_recognizer=False) == {"recognizer": (10, 0), "searcher": (5, 0)}
    assert count_calls(tally, searcher_asks_recognizer=True) == {"recognizer": (15, 0), "searcher": (5, 0)}


def test_bad_photo_is_a_success_when_refused_and_a_failure_when_answered() -> None:
    tally, fake = Tally(under_s=5), FakeServer()
    client = fake_client(fake, retry=NO_RETRY)
    traffic = make_traffic(tally, Mix(bad_share=1.0))
    outcome = traffic.call(client, RECOGNIZE)
    assert outcome.kind == REFUSE
    assert "is no photo and was answered" in str(outcome.error)
    assert tally.total([REFUSE]).failures == {"BadPhotoAnswered": 1}
    for bad in Corpus(PHOTOS).bad_photos:
        fake.refuse(bad, UnreadableImage)
    assert traffic.call(client, RECOGNIZE).error is None
    assert tally.total([REFUSE]).answered == 1


def test_good_photo_that_is_refused_is_a_failure() -> None:
    tally, fake = Tally(under_s=5), FakeServer()
    fake.fail_next(UnreadableImage)
    traffic = make_traffic(tally, Mix(bad_share=0.0))
    assert isinstance(traffic.call(fake_client(fake, retry=NO_RETRY), RECOGNIZE).error, UnreadableImage)
    assert tally.total([RECOGNIZE]).failures == {"UnreadableImage": 1}


def test_overload_is_counted_and_nothing_is_sent_twice() -> None:
    tally, fake = Tally(under_s=5), FakeServer()
    client = fake_client(fake, retry=NO_RETRY)
    client.recognize(b"any")  # the client's check of the contract is behind it
    fake.fail_next(Overloaded)
    traffic = make_traffic(tally, Mix(bad_share=0.0))
    sent = len(fake.requests)
    assert isinstance(traffic.call(client, EMBED).error, Overloaded)
    assert len(fake.requests) == sent + 1
    # Ours, but a server may not have counted it.
    assert count_calls(tally, searcher_asks_recognizer=True)["recognizer"] == (1, 1)


def test_answer_is_wrong_when_it_is_another_than_alone() -> None:
    tally, fake = Tally(under_s=5), FakeServer()
    client = fake_client(fake, retry=NO_RETRY)
    alone = answer_alone(client, Corpus(PHOTOS), [EMBED])
    shifted = {place: Answer(answer.top, np.roll(answer.numbers, 1)) for place, answer in alone.items()}
    traffic = make_traffic(tally, Mix(repeat_share=1.0, bad_share=0.0), shifted)
    assert "is not what it was alone: a number differs by" in str(traffic.call(client, EMBED).error)
    assert tally.total().failures == {"WrongAnswer": 1}
    assert "WrongAnswer" in traffic.examples


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (Answer("boot", np.array([0.6, 0.8], np.float32)), "the top is 'boot', expected 'shoe'"),
        (Answer("shoe", np.array([0.6, 0.8 + 3 * TOLERANCE], np.float32)), "a number differs by"),
        (Answer("shoe", np.array([0.6, np.nan], np.float32)), "a number differs by nan"),
        (Answer("shoe", np.array([0.6], np.float32)), r"\(1,\) numbers, expected \(2,\)"),
    ],
)
def test_later_answer_is_compared_with_the_first(other: Answer, sentence: str) -> None:
    golden = GoldenAnswers()
    first = Answer("shoe", np.array([0.6, 0.8], np.float32))
    assert golden.differs(RECOGNIZE, "a", first) is None
    assert golden.differs(RECOGNIZE, "a", Answer("shoe", first.numbers + np.float32(TOLERANCE / 3))) is None
    assert golden.differs(EMBED, "a", other) is None  # another kind of call has answers of its own
    difference = golden.differs(RECOGNIZE, "a", other)
    assert difference is not None
    assert re.search(sentence, difference)
    assert golden.compared == 2


def test_golden_answers_are_the_same_when_read_again(tmp_path: Path) -> None:
    answers = {
        (RECOGNIZE, "a-1"): Answer("Shoes / clog", np.array([1, 2], np.float32)),
        (SEARCH, "b"): Answer("", np.array([], np.float32)),
    }
    write_golden(answers, tmp_path / "golden.npz")
    again = read_golden(tmp_path / "golden.npz")
    assert {place: (answer.top, answer.numbers.tolist()) for place, answer in again.items()} == {
        (RECOGNIZE, "a-1"): ("Shoes / clog", [1, 2]),
        (SEARCH, "b"): ("", []),
    }
    (tmp_path / "other.npz").write_bytes(b"no archive")
    with pytest.raises(LoadTestError, match="No golden answers can be read"):
        read_golden(tmp_path / "other.npz")
