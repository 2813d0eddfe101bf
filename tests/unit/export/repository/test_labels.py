from __future__ import annotations

from export.repository.labels import label_lines


def test_label_lines_prefix_only_what_a_shop_sells() -> None:
    assert label_lines(("tench", "running shoe"), {1: "Shoes"}) == ["tench", "Shoes / running shoe"]
