"""The family of errors, as a caller sees it."""

from __future__ import annotations

import pickle

import triptych
from triptych import ConnectionFailed, InvalidInput, TriptychError, UnreadableImage


def test_every_error_is_public_and_of_the_family() -> None:
    family, found = [TriptychError], set()
    while family:
        kind = family.pop()
        found.add(kind)
        family.extend(kind.__subclasses__())
    public = {value for name in triptych.__all__ if issubclass_of_error(value := getattr(triptych, name))}
    assert found == public


def issubclass_of_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def test_error_is_caught_by_its_group_when_the_caller_names_the_group() -> None:
    assert issubclass(UnreadableImage, InvalidInput)
    assert not UnreadableImage("x").retryable
    assert ConnectionFailed("x").retryable


def test_error_keeps_its_attributes_when_pickled() -> None:
    error = pickle.loads(pickle.dumps(UnreadableImage("bad", model="recognizer", request_id="abc")))
    assert (type(error), str(error), error.model, error.request_id) == (UnreadableImage, "bad", "recognizer", "abc")
