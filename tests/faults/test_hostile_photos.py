"""Thousands of hostile photos: through the pure decoder alone, and to the real server with good photos beside them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from ops.server.local_server import LocalServer
from ops.settings import ROOT, Settings
from tests.faults.bounds import CPU_S, MEMORY_BYTES, SENTENCES, SILENCE_S
from tests.faults.decode_hostile import digest_of
from tests.faults.hostile_photos import SEED, hostile_photos
from tests.faults.load import Golden
from tests.faults.photo_parts import HostilePhoto
from tests.faults.records import InputRow, keep
from tests.faults.served import stubs_of
from triptych import Client

HOSTILE_CALLERS = 6
GOOD_CALLERS = 2
HERE = "tests/faults/test_hostile_photos.py"


@pytest.fixture(scope="module")
def corpus() -> list[HostilePhoto]:
    return hostile_photos()


def decoded() -> Iterator[dict[str, Any]]:
    """A line for each photo, from a process of its own; a crash ends them early, a hang is killed."""
    command = [sys.executable, "-m", "tests.faults.decode_hostile", str(SEED)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        for line in process.stdout:
            begun = json.loads(line)
            watchdog = threading.Timer(SILENCE_S, process.kill)
            watchdog.start()
            ended = process.stdout.readline()
            watchdog.cancel()
            yield begun | (json.loads(ended) if ended else {"fate": "CRASHED", "sentence": "the process died"})


def test_decoder_refuses_each_hostile_photo_with_a_sentence_within_bounds(corpus: list[HostilePhoto]) -> None:
    assert len(corpus) >= 2_000
    outcomes = defaultdict(list)
    lines = decoded()
    assert next(lines)["digest"] == digest_of(corpus), "made again with the same seed, they are others"
    for outcome in lines:
        outcomes[outcome["kind"]].append(outcome)
    for kind, rows in outcomes.items():
        fates = [row["fate"] for row in rows]
        keep(
            InputRow(
                kind=f"photo: {kind}",
                against="decoder",
                tries=len(rows),
                refused=fates.count("REFUSED"),
                answered=fates.count("ANSWERED"),
                crashed=fates.count("CRASHED"),
                most_cpu_s=max(row.get("cpu_s", 0.0) for row in rows),
                most_memory_bytes=max(row.get("memory_bytes", 0) for row in rows),
                test=f"{HERE}::test_decoder_refuses_each_hostile_photo_with_a_sentence_within_bounds",
            )
        )
    everything = [row for rows in outcomes.values() for row in rows]
    assert len(everything) == len(corpus)
    assert [row for row in everything if row["fate"] == "CRASHED"] == []
    assert [row for row in everything if row["due"] not in ("EITHER", row["fate"])] == []
    assert [row for row in everything if row["fate"] == "ANSWERED" and row["sentence"]] == []
    refused = [row for row in everything if row["fate"] == "REFUSED"]
    assert [row for row in refused if not row["sentence"].startswith(SENTENCES)] == []
    assert [row for row in everything if row["memory_bytes"] > MEMORY_BYTES] == []
    assert [row for row in everything if row["cpu_s"] > 2 * CPU_S] == []


@pytest.fixture(scope="module", params=["cpu", None], ids=["fused", "ensemble"])
def either(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """Without a cache: every answer is computed."""
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, profile=request.param, cache_mb=0)) as server:
        yield server


def peak_bytes(pid: int, field: str = "VmHWM") -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024


def test_server_refuses_each_hostile_photo_and_answers_those_beside_it(
    either: LocalServer, corpus: list[HostilePhoto], contents: list[bytes]
) -> None:
    sent = corpus if either.settings.profile else corpus[::3]
    decoder = "recognizer" if either.settings.profile else "preprocess"
    with Client(either.grpc_target, timeout_s=SILENCE_S) as client:
        golden = Golden(client, contents)
        stubs = stubs_of(either, decoder)
        for pid in stubs:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        before = {pid: peak_bytes(pid, "VmRSS") for pid in stubs}
        outcomes, wrong, answered = send_all(either, sent, client, golden)
        assert stubs_of(either, decoder) == stubs, "a process died"
        grown_bytes = max(peak_bytes(pid) - before[pid] for pid in stubs)
    keep_outcomes(outcomes, f"server, {'fused' if either.settings.profile else 'ensemble'}")
    assert wrong == 0
    assert answered > 100
    strange = {photo.name: said for photo, said in outcomes if not (said == "" or said.startswith(SENTENCES))}
    assert strange == {}
    assert [photo.name for photo, said in outcomes if photo.fate == "REFUSED" and not said] == []
    assert [(photo.name, said) for photo, said in outcomes if photo.fate == "ANSWERED" and said] == []
    assert grown_bytes < 2 * MEMORY_BYTES, "one photo, and what the allocator keeps of those before it"


def send_all(
    server: LocalServer, sent: list[HostilePhoto], client: Client, golden: Golden
) -> tuple[list[tuple[HostilePhoto, str]], int, int]:
    """Each photo with the sentence that refused it, and of the good photos how many were wrong, how many answered."""
    is_over = threading.Event()

    def recognize(caller: int) -> tuple[int, int]:
        wrong = answered = 0
        while not is_over.is_set():
            number = caller + GOOD_CALLERS * answered
            wrong += not golden.is_right(number, client.embed(golden.fresh(number)).vector)
            answered += 1
        return wrong, answered

    def send(photo: HostilePhoto) -> tuple[HostilePhoto, str]:
        image = triton.InferInput("image", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[photo.content]], dtype=object))
        try:
            channel.infer("recognizer", [image], client_timeout=SILENCE_S)
        except InferenceServerException as error:
            words = error.message()
            is_refusal = error.status() == "StatusCode.INVALID_ARGUMENT"
            at = max(words.find(sentence) for sentence in SENTENCES)
            return photo, words[at:] if is_refusal and at >= 0 else f"{error.status()}: {words}"
        return photo, ""

    with (
        contextlib.closing(triton.InferenceServerClient(server.grpc_target)) as channel,
        ThreadPoolExecutor(HOSTILE_CALLERS + GOOD_CALLERS) as pool,
    ):
        good = [pool.submit(recognize, caller) for caller in range(GOOD_CALLERS)]
        try:
            outcomes = list(pool.map(send, sent))
        finally:
            is_over.set()
        counts = [caller.result() for caller in good]
    return outcomes, sum(wrong for wrong, _ in counts), sum(answered for _, answered in counts)


def keep_outcomes(outcomes: list[tuple[HostilePhoto, str]], against: str) -> None:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for photo, sentence in outcomes:
        by_kind[photo.kind].append(sentence)
    for kind, said in by_kind.items():
        refused = sum(words.startswith(SENTENCES) for words in said)
        answered = said.count("")
        keep(
            InputRow(
                kind=f"photo: {kind}",
                against=against,
                tries=len(said),
                refused=refused,
                answered=answered,
                crashed=len(said) - refused - answered,
                most_cpu_s=None,
                most_memory_bytes=None,
                test=f"{HERE}::test_server_refuses_each_hostile_photo_and_answers_those_beside_it",
            )
        )


def test_bad_photo_in_a_request_of_eight_is_named_and_the_next_request_is_right(
    either: LocalServer, corpus: list[HostilePhoto], contents: list[bytes]
) -> None:
    refused = [photo for photo in corpus if photo.fate == "REFUSED" and len(photo.content) < 100_000][::71]
    assert len(refused) > 10
    with Client(either.grpc_target) as client:
        golden = Golden(client, contents)
        for number, photo in enumerate(refused):
            batch = [golden.fresh(n) for n in range(8)]
            batch[number % 8] = photo.content
            items = list(client.embed_many(batch, batch_size=8))
            assert [item.index for item in items if item.error is not None] == [number % 8], photo.name
            assert all(golden.is_right(n, item.result().vector) for n, item in enumerate(items) if n != number % 8)
