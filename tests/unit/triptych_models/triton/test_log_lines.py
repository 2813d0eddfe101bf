import json

from triptych_models.triton.log_lines import MAX_VALUE_CHARS, describe


def test_plain_values_stand_as_they_are() -> None:
    assert (
        describe("refused", model="recognizer", request_id="a-1,b-2") == "refused model=recognizer request_id=a-1,b-2"
    )


def test_value_that_could_be_mistaken_is_quoted() -> None:
    line = describe("refused", request_id='7"\nfailed model=x', message="")
    assert "\n" not in line
    key, _, rest = line.partition("request_id=")
    value, end = json.JSONDecoder().raw_decode(rest)
    assert (key, value, rest[end:]) == ("refused ", '7"\nfailed model=x', ' message=""')


def test_long_value_is_cut_short() -> None:
    assert len(describe("refused", request_id="x" * 100_000)) < MAX_VALUE_CHARS + 40
