"""The graph that searching is compared with is the server's own."""

from __future__ import annotations

import engine
from loadtest import search_speed


def test_graph_in_process_has_the_parameters_of_the_server() -> None:
    mine = search_speed.CONNECTIVITY, search_speed.EXPANSION_ADD, search_speed.EXPANSION_SEARCH, search_speed.LEFT
    assert mine == (engine.CONNECTIVITY, engine.EXPANSION_ADD, engine.EXPANSION_SEARCH, engine.EXACT_BELOW)
