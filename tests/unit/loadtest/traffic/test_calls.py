"""Drawing of photos, checks of answers and counts of calls, through a client with a fake server."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loadtest.errors import LoadTestError
from loadtest.traffic.calls import (
    EMBED,
    NO_RETRY,
    RECOGNIZE,
    REFUSE,
    SEARCH,
    CallRunner,
    expected_requests,
    record_references,
)
from loadtest.traffic.corpus import Corpus, PhotoSampler, TrafficMix
from loadtest.traffic.latency_histogram import LatencyHistogram
from loadtest.traffic.reference_answers import TOLERANCE, Answer, ReferenceAnswers, read_prepared, write_prepared
from triptych import Overloaded, UnreadableImage
from triptych.testing import FakeServer, fake_client

PHOTOS = {f"photo-{number}": bytes([128 + number]) * 4000 for number in range(60)}


def make_runner(
    histogram: LatencyHistogram, mix: TrafficMix, without_load: dict[tuple[str, str], Answer] | None = None
) -> CallRunner:
    return CallRunner(PhotoSampler(Corpus(PHOTOS), mix, seed=3), ReferenceAnswers(without_load), histogram)


def test_photos_of_rank_r_are_drawn_in_proportion_to_one_over_r() -> None:
    sampler = PhotoSampler(Corpus(PHOTOS), TrafficMix(zipf=1.0, repeat_share=1.0, bad_share=0.0), seed=3)
    count = 20_000
    drawn = Counter(sampler.draw().key for _ in range(count))
    harmonic = sum(1 / rank for rank in range(1, len(PHOTOS) + 1))
    for rank in (1, 2, 5, 20):
        expected = count / rank / harmonic
        # Five standard deviations of a binomial: wrong once in a million seeds, and this seed is fixed.
        assert abs(drawn[f"photo-{rank - 1}"] - expected) < 5 * math.sqrt(expected), rank


def test_shares_of_repeats_and_bad_photos_are_those_asked_for() -> None:
    sampler = PhotoSampler(Corpus(PHOTOS), TrafficMix(repeat_share=0.3, bad_share=0.05), seed=3)
    drawn = [sampler.draw() for _ in range(5000)]
    bad = [draw for draw in drawn if draw.key is None]
    repeated = [draw for draw in drawn if draw.key is not None and draw.content == PHOTOS[draw.key]]
    assert len(bad) / 5000 == pytest.approx(0.05, abs=0.015)
    assert len(repeated) / (5000 - len(bad)) == pytest.approx(0.3, abs=0.03)
    unique = [draw.content for draw in drawn if draw.key is not None and draw.content != PHOTOS[draw.key]]
    assert len(set(unique)) == len(unique)


def test_two_samplers_of_one_seed_draw_alike_and_never_the_same_unique_photo() -> None:
    first, second = (
        PhotoSampler(Corpus(PHOTOS), TrafficMix(repeat_share=0.0, bad_share=0.0), seed=9) for _ in range(2)
    )
    pairs = [(first.draw(), second.draw()) for _ in range(200)]
    assert all(mine.key == theirs.key and mine.content != theirs.content for mine, theirs in pairs)


def test_corpus_has_the_sizes_of_shops_and_is_the_same_for_one_seed(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (32, 24), (number * 80, 10, 10)).save(tmp_path / f"photo{number}.jpg")
    made, again = Corpus.make(tmp_path, seed=5, count=12), Corpus.make(tmp_path, seed=5, count=12)
    assert made.photos == again.photos
    assert Corpus.make(tmp_path, seed=6, count=12).photos != made.photos
    assert len({key.rpartition("-")[2] for key in made.photos}) > 2


def test_corpus_says_what_to_do_when_there_are_no_photos(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="Fetch the samples with `make photos`"):
        Corpus.make(tmp_path, seed=1)


def test_answers_are_counted_by_kind_when_all_is_well() -> None:
    histogram = LatencyHistogram(under_s=5)
    client = fake_client(FakeServer(), retry=NO_RETRY)
    client.catalogue.upsert("shoe", PHOTOS["photo-0"])
    without_load = record_references(client, Corpus(PHOTOS), [RECOGNIZE, EMBED, SEARCH])
    runner = make_runner(histogram, TrafficMix(repeat_share=1.0, bad_share=0.0), without_load)
    for kind in (RECOGNIZE, EMBED, SEARCH) * 5:
        assert runner.call(client, kind).error is None
    assert {kind: histogram.total([kind]).answered for kind in histogram.kinds()} == {RECOGNIZE: 5, EMBED: 5, SEARCH: 5}
    assert expected_requests(histogram, searcher_calls_recognizer=False) == {"recognizer": (10, 0), "searcher": (5, 0)}
    assert expected_requests(histogram, searcher_calls_recognizer=True) == {"recognizer": (15, 0), "searcher": (5, 0)}


def test_bad_photo_is_a_success_when_refused_and_a_failure_when_answered() -> None:
    histogram, fake = LatencyHistogram(under_s=5), FakeServer()
    client = fake_client(fake, retry=NO_RETRY)
    runner = make_runner(histogram, TrafficMix(bad_share=1.0))
    outcome = runner.call(client, RECOGNIZE)
    assert outcome.kind == REFUSE
    assert "The invalid photo" in str(outcome.error)
    assert histogram.total([REFUSE]).failures == {"BadPhotoAnswered": 1}
    for bad in Corpus(PHOTOS).bad_photos:
        fake.refuse(bad, UnreadableImage)
    assert runner.call(client, RECOGNIZE).error is None
    assert histogram.total([REFUSE]).answered == 1


def test_good_photo_that_is_refused_is_a_failure() -> None:
    histogram, fake = LatencyHistogram(under_s=5), FakeServer()
    fake.fail_next(UnreadableImage)
    runner = make_runner(histogram, TrafficMix(bad_share=0.0))
    assert isinstance(runner.call(fake_client(fake, retry=NO_RETRY), RECOGNIZE).error, UnreadableImage)
    assert histogram.total([RECOGNIZE]).failures == {"UnreadableImage": 1}


def test_overload_is_counted_and_nothing_is_sent_twice() -> None:
    histogram, fake = LatencyHistogram(under_s=5), FakeServer()
    client = fake_client(fake, retry=NO_RETRY)
    client.recognize(b"any")  # the client checks the contract with its first call
    fake.fail_next(Overloaded)
    runner = make_runner(histogram, TrafficMix(bad_share=0.0))
    sent = len(fake.requests)
    assert isinstance(runner.call(client, EMBED).error, Overloaded)
    assert len(fake.requests) == sent + 1
    # Sent, but a server may not have counted it.
    assert expected_requests(histogram, searcher_calls_recognizer=True)["recognizer"] == (1, 1)


def test_answer_is_wrong_when_it_differs_from_the_answer_without_load() -> None:
    histogram, fake = LatencyHistogram(under_s=5), FakeServer()
    client = fake_client(fake, retry=NO_RETRY)
    without_load = record_references(client, Corpus(PHOTOS), [EMBED])
    shifted = {place: Answer(answer.top, np.roll(answer.numbers, 1)) for place, answer in without_load.items()}
    runner = make_runner(histogram, TrafficMix(repeat_share=1.0, bad_share=0.0), shifted)
    assert "differs from the answer without load: a number differs by" in str(runner.call(client, EMBED).error)
    assert histogram.total().failures == {"WrongAnswer": 1}
    assert "WrongAnswer" in runner.examples


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (Answer("boot", np.array([0.6, 0.8], np.float32)), "the top is 'boot', expected 'shoe'"),
        (Answer("shoe", np.array([0.6, 0.8 + 3 * TOLERANCE], np.float32)), "a number differs by"),
        (Answer("shoe", np.array([0.6, np.nan], np.float32)), "a number differs by nan"),
        (Answer("shoe", np.array([0.6], np.float32)), r"the shape is \(1,\), expected \(2,\)"),
    ],
)
def test_later_answer_is_compared_with_the_first(other: Answer, sentence: str) -> None:
    references = ReferenceAnswers()
    first = Answer("shoe", np.array([0.6, 0.8], np.float32))
    assert references.differs(RECOGNIZE, "a", first) is None
    assert references.differs(RECOGNIZE, "a", Answer("shoe", first.numbers + np.float32(TOLERANCE / 3))) is None
    assert references.differs(EMBED, "a", other) is None  # another kind of call has its own references
    difference = references.differs(RECOGNIZE, "a", other)
    assert difference is not None
    assert re.search(sentence, difference)
    assert references.compared == 2


def test_photos_and_reference_answers_are_the_same_when_read_again(tmp_path: Path) -> None:
    answers = {
        (RECOGNIZE, "a-1"): Answer("Shoes / clog", np.array([1, 1 / 3], np.float32)),
        (SEARCH, "b"): Answer("", np.array([], np.float32)),
    }
    write_prepared(tmp_path / "prepared.json", Corpus(PHOTOS), answers)
    corpus, again = read_prepared(tmp_path / "prepared.json")
    assert list(corpus.photos.items()) == list(PHOTOS.items())
    assert {place: (answer.top, answer.numbers.tolist()) for place, answer in again.items()} == {
        (RECOGNIZE, "a-1"): ("Shoes / clog", [1, float(np.float32(1 / 3))]),
        (SEARCH, "b"): ("", []),
    }
    assert all(answer.numbers.dtype == np.float32 for answer in again.values())
    (tmp_path / "other.json").write_text("no photos")
    with pytest.raises(LoadTestError, match="Cannot read photos and reference answers"):
        read_prepared(tmp_path / "other.json")
