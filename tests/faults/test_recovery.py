"""Faults under load: eight callers who never pause, each answer compared with its golden one, servers as people start
them. With one server nothing is lost that a retry can save; with two nothing at all; never a wrong answer.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ops.server.reports.status import read_status
from tests.faults.load import CALLERS, Golden, Load, loaded
from tests.faults.records import keep_load
from tests.faults.served import Served, serving, wait_for
from tests.faults.test_state_folder import make_release
from triptych import Client, Retry

HERE = "tests/faults/test_recovery.py"
pytestmark = pytest.mark.alone
# After the end of a fault: enough to see that calls are answered.
CALM_S = 1.0
RECOVERED_WITHIN_S = 15.0
# Without a limit for a try, a call to a server that stands still takes its whole deadline.
PATIENT = Retry(try_timeout_s=3.0)


def kill_stub(model: str) -> Callable[[Served], None]:
    return lambda served: os.kill(served.stubs(model)[-1], signal.SIGKILL)


def stop_stub(model: str) -> Callable[[Served], None]:
    return lambda served: os.kill(served.stubs(model)[-1], signal.SIGSTOP)


def stop_and_continue_stub(model: str) -> Callable[[Served], None]:
    def fault(served: Served) -> None:
        stub = served.stubs(model)[-1]
        os.kill(stub, signal.SIGSTOP)
        time.sleep(2.0)  # long enough for calls to fail, too short for the supervisor to kill it
        with contextlib.suppress(ProcessLookupError):  # killed and gone by then
            os.kill(stub, signal.SIGCONT)

    return fault


def signal_server(number: int) -> Callable[[Served], None]:
    return lambda served: os.kill(served.server_pid, number)


@dataclass(frozen=True)
class Fault:
    """Attributes:
    cause: does it to one server.
    says: what the supervisor must have said once it is over.
    """

    name: str
    cause: Callable[[Served], None] = field(repr=False)
    says: str


LOADED = "the model was loaded again"
STARTED = "Restarted after"
EITHER = f"{LOADED}|{STARTED}"
FUSED = (
    Fault("stub of recognizer killed", kill_stub("recognizer"), LOADED),
    Fault("stub of recognizer stopped", stop_stub("recognizer"), EITHER),
    Fault("stub of recognizer stopped, then continued", stop_and_continue_stub("recognizer"), EITHER),
    Fault("stub of index killed", kill_stub("index"), LOADED),
    Fault("stub of catalogue killed", kill_stub("catalogue"), LOADED),
    Fault("server killed", signal_server(signal.SIGKILL), STARTED),
    Fault("server stopped", signal_server(signal.SIGSTOP), STARTED),
    Fault("server told to end (SIGTERM)", signal_server(signal.SIGTERM), STARTED),
)
STEPS = tuple(
    Fault(f"stub of {model} killed, ensemble", kill_stub(model), LOADED)
    for model in ("preprocess", "embedder", "classifier")
)
OF_TWO = tuple(fault for fault in FUSED if not any(word in fault.name for word in ("index", "catalogue")))


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("fused"), "--cache-mb=0") as served:
        yield served


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("ensemble"), "--cache-mb=0", "--profile=") as served:
        yield served


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Served]]:
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
        yield [stack.enter_context(serving(folder, "--cache-mb=0")) for folder in folders]


def under_load(fault: Fault, served: list[Served], contents: list[bytes], retry: Retry) -> tuple[Load, float]:
    """What the callers saw, and when the first server had its fault."""
    with Client(",".join(one.target for one in served), retry=retry, timeout_s=20) as client:
        golden = Golden(client, contents)
        said = len(served[0].said())
        with loaded(client, golden) as load:
            assert wait_for(lambda: len(load.took_s) > CALLERS)
            since_s = time.monotonic()
            fault.cause(served[0])
            assert wait_for(lambda: re.search(fault.says, served[0].said()[said:]) is not None, 30.0), served[0].said()
            assert wait_for(served[0].is_ready, 30.0)
            time.sleep(CALM_S)
            assert wait_for(lambda: load.answered_after(since_s + load.recovery_s(since_s)) > CALLERS, 10.0)
        return load, since_s


@pytest.mark.parametrize("fault", FUSED, ids=lambda fault: fault.name)
def test_one_server_recovers_by_itself_and_its_errors_may_be_retried(
    fault: Fault, fused: Served, contents: list[bytes]
) -> None:
    load, since_s = under_load(fault, [fused], contents, Retry(tries=1))
    check_recovered(load, since_s, fault, "test_one_server_recovers_by_itself_and_its_errors_may_be_retried")


@pytest.mark.parametrize("fault", STEPS, ids=lambda fault: fault.name)
def test_ensemble_recovers_by_itself_and_its_errors_may_be_retried(
    fault: Fault, ensemble: Served, contents: list[bytes]
) -> None:
    load, since_s = under_load(fault, [ensemble], contents, Retry(tries=1))
    check_recovered(load, since_s, fault, "test_ensemble_recovers_by_itself_and_its_errors_may_be_retried")


def check_recovered(load: Load, since_s: float, fault: Fault, test: str) -> None:
    keep_load(fault.name, 1, load, since_s, f"{HERE}::{test}")
    assert load.wrong == 0
    assert [str(failure.error) for failure in load.failures if not failure.error.retryable] == []
    assert load.recovery_s(since_s) < RECOVERED_WITHIN_S


@pytest.mark.parametrize("fault", OF_TWO, ids=lambda fault: fault.name)
def test_no_call_fails_when_one_of_two_servers_does(fault: Fault, two: list[Served], contents: list[bytes]) -> None:
    load, since_s = under_load(fault, two, contents, PATIENT)
    keep_load(fault.name, 2, load, since_s, f"{HERE}::test_no_call_fails_when_one_of_two_servers_does")
    assert load.wrong == 0
    assert [str(failure.error) for failure in load.failures] == []


DEATHS = 4


def test_server_that_dies_again_and_again_is_started_again_after_growing_pauses(tmp_path: Path) -> None:
    repository = make_release(tmp_path / "small", 1)
    with serving(tmp_path / "state", f"--repository={repository}", "--profile=") as served:
        pauses_s = []
        for deaths in range(1, DEATHS + 1):
            killed_s = time.monotonic()
            os.kill(served.server_pid, signal.SIGKILL)
            assert wait_for(lambda count=deaths: served.state.restarts == count)  # type: ignore[misc]
            shown = read_status(tmp_path / "state")
            assert shown.phase in ("crashed", "starting")
            assert "killed by SIGKILL" in (shown.last_death or "")
            assert wait_for(served.is_ready)
            pauses_s.append(time.monotonic() - killed_s)
        assert pauses_s[-1] > 4.0, "1, 2 and 4 s after the first restart, which is immediate"
        assert f"Restarting it in 4 s; it ended {DEATHS} times in a row." in served.said()
        assert served.supervisor.poll() is None


def test_server_that_dies_while_it_starts_is_started_once_more(tmp_path: Path, contents: list[bytes]) -> None:
    with serving(tmp_path / "state") as served:
        for _ in range(2):
            former = served.state.server
            os.kill(served.server_pid, signal.SIGKILL)
            assert wait_for(lambda former=former: served.state.server not in (None, former))  # type: ignore[misc]
        assert wait_for(lambda: STARTED in served.said()), served.said()
        assert "it ended 2 times in a row" in served.said()
        with Client(served.target, retry=Retry(tries=8)) as client:
            assert client.embed(contents[0]).vector.shape


def test_status_and_catalogue_survive_a_restart(tmp_path: Path, contents: list[bytes]) -> None:
    with serving(tmp_path / "state") as served:
        key = served.folder.catalogue_key_file.read_text().strip()
        with Client(served.target, catalogue_key=key, retry=Retry(tries=8)) as client:
            client.catalogue.upsert("shoe", contents[0])
            os.kill(served.server_pid, signal.SIGKILL)
            assert wait_for(lambda: STARTED in served.said())
            found = client.search(contents[0], k=1)
            assert found.top is not None
            assert found.top.product_id == "shoe"
        command = Path(f"/proc/{served.server_pid}/cmdline").read_bytes()
        assert served.folder.read_key().encode() not in command, "hidden after a restart too"
