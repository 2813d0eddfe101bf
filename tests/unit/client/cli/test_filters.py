"""`--filter`: conditions that are read, and those that are refused with the right form."""

from __future__ import annotations

from typing import Any

import pytest

from triptych.cli.exit_codes import WrongUsage
from triptych.cli.filters import read_filter


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["category=Shoes"], {"category": "Shoes"}),
        (["size=40,41"], {"size": [40, 41]}),
        (["price>=10", "price < 50"], {"price": {"gte": 10, "lt": 50}}),
        (["colour!=red"], {"colour": {"ne": "red"}}),
        (["price<-5"], {"price": {"lt": -5}}),
        (['note="<30"'], {"note": "<30"}),
        (['{"price": {"lt": 50}}'], {"price": {"lt": 50}}),
    ],
)
def test_filter_is_read(conditions: list[str], expected: dict[str, Any]) -> None:
    assert read_filter(conditions) == expected


@pytest.mark.parametrize("operator", ["<<", "=>", "==", "<>", ">>=", "!", "=!"])
def test_unknown_operator_is_refused_with_the_known_ones(operator: str) -> None:
    with pytest.raises(WrongUsage, match="expected one of >=, <=, !=, >, <, =") as refused:
        read_filter([f"price{operator}30"])
    assert repr(operator) in str(refused.value)
