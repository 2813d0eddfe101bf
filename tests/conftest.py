"""Marks tests by their folder, and turns a skip into a failure where the tiers were asked for by name."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton

if TYPE_CHECKING:  # `make setup-client` installs what the client's tests need, which is not what a server needs
    from ops.server.local_server import LocalServer

TESTS = Path(__file__).parent
PHOTOS = TESTS.parent / ".cache/photos"
TIERS = ("unit", "contract", "chart", "e2e", "rules", "security", "faults")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a skipped test is a failure (CI)")
    parser.addoption("--families", action="store_true", help="also place and serve the larger torchvision families")
    parser.addoption("--distributed", action="store_true", help="also the catalogue's distributed engine (Weaviate)")
    parser.addoption("--fuzz-s", type=float, default=15.0, help="seconds of the decoder's fuzz run (make soak: 600)")
    parser.addoption(
        "--soak-s", type=float, default=0.0, help="seconds of the soak, which is left out at 0 (make soak)"
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job ignores Ctrl-C, and so would the commands that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for tier in TIERS:
        config.addinivalue_line("markers", f"{tier}: tests in tests/{tier}")
    config.addinivalue_line("markers", "alone: loads a server until it is full; `make test` runs nothing beside it")
    config.addinivalue_line("markers", "soak: runs with --soak-s SECONDS (`make soak`)")
    config.addinivalue_line("markers", "families: runs with --families (`make families`)")
    config.addinivalue_line("markers", "distributed: runs with --distributed (`make distributed`)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for option in ("families", "distributed", "soak_s"):
        if not config.getoption(option):
            mark = option.removesuffix("_s")
            items[:] = [item for item in items if item.get_closest_marker(mark) is None]
    for item in items:
        item.add_marker(item.path.relative_to(TESTS).parts[0])
    # The quick tiers first: what is broken shows early. Side by side the slow ones begin, so that none is left over.
    is_parallel = hasattr(config, "workerinput")
    items.sort(key=lambda item: TIERS.index(item.path.relative_to(TESTS).parts[0]), reverse=is_parallel)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"skipped where skips are failures: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def photos() -> list[Path]:
    """Foolbox's 20 ImageNet photos; the true class index ends the file's name."""
    found = sorted(PHOTOS.glob("imagenet_*.jpg"))
    if not found:
        pytest.skip(f"no sample photos in {PHOTOS}: run `make photos`")
    return found


@pytest.fixture(scope="session")
def two_photos(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two photos: `build` compares up to three of its photos in each of 38 encodings."""
    folder = tmp_path_factory.mktemp("photos")
    for photo in photos[:2]:
        shutil.copy(photo, folder)
    return folder


@pytest.fixture(scope="session")
def server() -> Iterator[LocalServer]:
    """The real server as `make serve` starts it: the cpu profile, where `recognizer` is one model."""
    from ops.server.local_server import LocalServer
    from ops.settings import Settings

    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server:
        yield server


@pytest.fixture(scope="session")
def ensemble_server() -> Iterator[LocalServer]:
    """The real server over `config.pbtxt`, where `recognizer` is an ensemble of three steps."""
    from ops.server.local_server import LocalServer
    from ops.settings import Settings

    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, profile=None)) as server:
        yield server


Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="session")
def answers_of() -> Callable[[LocalServer], Callable[[Sequence[bytes]], tuple[Floats, Floats]]]:
    """A server -> (encoded photos -> all category_scores, embeddings), a request a photo."""

    def bind(server: LocalServer) -> Callable[[Sequence[bytes]], tuple[Floats, Floats]]:
        client = triton.InferenceServerClient(server.grpc_target)

        def answer(photos: Sequence[bytes]) -> tuple[Floats, Floats]:
            scores, embeddings = [], []
            for photo in photos:
                image = triton.InferInput("image", [1, 1], "BYTES")
                image.set_data_from_numpy(np.array([[photo]], dtype=object))
                result = client.infer("recognizer", [image])
                scores.append(result.as_numpy("category_scores"))
                embeddings.append(result.as_numpy("embedding"))
            return np.concatenate(scores), np.concatenate(embeddings)

        return answer

    return bind


@pytest.fixture(params=["server", "ensemble_server"])
def either_server(request: pytest.FixtureRequest) -> LocalServer:
    """One after the other: both serve the same tensors."""
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]
