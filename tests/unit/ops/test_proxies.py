from __future__ import annotations

import pytest

from ops.proxies import exempt_loopback, find_catching

OURS = "127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    ("given", "exempt"),
    [
        ({}, OURS),
        ({"no_proxy": ""}, OURS),
        ({"no_proxy": "localhost"}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": ".shop.example"}, f".shop.example,{OURS}"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, f"a,{OURS}"),
        ({"no_proxy": "localhost, 127.0.0.1, ::1"}, "localhost, 127.0.0.1, ::1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_process_asks_no_proxy_for_this_machine(given: dict[str, str], exempt: str) -> None:
    variables = exempt_loopback({"http_proxy": "http://proxy:3128", **given})
    assert variables == {"http_proxy": "http://proxy:3128", **given, "no_proxy": exempt, "NO_PROXY": exempt}


def test_exemption_of_grpc_is_completed_where_there_is_one() -> None:
    assert exempt_loopback({"no_grpc_proxy": "a"})["no_grpc_proxy"] == f"a,{OURS}"
    assert "no_grpc_proxy" not in exempt_loopback({})


@pytest.mark.parametrize(
    ("variables", "catching"),
    [
        ({}, []),
        ({"http_proxy": ""}, []),
        ({"http_proxy": "http://p", "HTTPS_PROXY": "http://p"}, ["http_proxy", "HTTPS_PROXY"]),
        ({"grpc_proxy": "http://p", "no_proxy": "localhost"}, ["grpc_proxy"]),
        ({"ALL_PROXY": "socks5://p", "no_proxy": "127.0.0.1"}, []),
        ({"http_proxy": "http://p", "NO_PROXY": "*"}, []),
    ],
)
def test_variables_that_catch_this_machine_are_named(variables: dict[str, str], catching: list[str]) -> None:
    assert find_catching(variables) == catching
