import time
from pathlib import Path

import pytest

from ops.server.failures import describe_death, describe_load_failure, describe_slow_start
from ops.server.logs import LoadFailure, LogReader, LogSummary, parse_line

CAPTURED = Path(__file__).parent / "captured"
LOG_FILE = Path("/run/server.log")


def read(name: str) -> LogReader:
    reader = LogReader(CAPTURED / name, has_gpu=False)
    reader.read_new()
    return reader


def test_record_becomes_time_level_message() -> None:
    line = parse_line("""2026-11-23T20:37:52Z I 77 model_lifecycle.cc:839] "successfully loaded 'embedder'"\n""")
    assert line is not None
    assert str(line) == "20:37:52 info     successfully loaded 'embedder'"


def test_record_is_unquoted_when_it_holds_newlines_and_quotes() -> None:
    line = parse_line(r'2026-11-23T20:37:52Z E 7 a.cc:1] "no \"x\" at\n  y"')
    assert line is not None
    assert line.message == 'no "x" at\n  y'


@pytest.mark.parametrize("text", ["", "+-----+", "| Model | Version |", "Error: Failed to initialize NVML"])
def test_tables_and_a_missing_gpu_are_dropped(text: str) -> None:
    assert parse_line(text) is None


def test_missing_gpu_is_shown_when_there_is_one() -> None:
    assert parse_line("Error: Failed to initialize NVML", has_gpu=True) is not None


@pytest.mark.parametrize(("level", "shown"), [("error", False), ("warning", True), ("verbose", True)])
def test_warning_is_shown_from_its_level_on(level: str, shown: bool) -> None:
    line = parse_line('2026-11-23T20:37:52Z W 7 a.cc:1] "slow"')
    assert line is not None
    assert line.is_shown(level) is shown  # type: ignore[arg-type]


def test_record_of_a_model_process_that_has_not_learnt_the_format_is_read_too() -> None:
    line = parse_line("I1123 20:37:52.123456 77 pb_stub.cc:2105]  Failed to preinitialize Python stub: no file")
    assert line is not None
    assert str(line) == "20:37:52 info     Failed to preinitialize Python stub: no file"


def test_what_a_model_prints_is_kept_as_info() -> None:
    line = parse_line("hello from a model")
    assert line is not None
    assert (line.level, line.message) == ("info", "hello from a model")


def test_served_log_on_a_cpu_has_no_warning_for_people() -> None:
    lines = LogReader(CAPTURED / "served_and_stopped.log", has_gpu=False).read_new()
    assert [line.message for line in lines if line.is_shown("warning")] == []


def test_summary_follows_models_from_loading_to_unloaded() -> None:
    summary = read("served_and_stopped.log").summary
    assert {"preprocess", "embedder"} < set(summary.loaded)
    assert set(summary.unloaded) == set(summary.loaded)
    assert summary.is_unloading


def test_open_connections_are_waited_for_until_unloading() -> None:
    summary = LogSummary()
    line = parse_line('2026-11-23T20:54:50Z I 7 http_server.cc:248] "Timeout 30: Found 16 HTTP service connections"')
    assert line is not None
    summary.add(line)
    assert summary.waits_for_connections


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_weights.log", "Model hello did not load: no weights at /x. Place them with `make export`."),
        (
            "missing_module.log",
            "Model hello did not load: ModuleNotFoundError: No module named 'nosuchmodule' "
            "(/models/hello/1/model.py line 2)",
        ),
        (
            "unknown_field.log",
            "Model hello did not load: failed to read text proto from /models/hello/config.pbtxt "
            '(7:15: Message type "inference.ModelConfig" has no field named "nonsense_field".)',
        ),
        ("no_model_file.log", "A model did not load: Python model file not found in '/models/hello/1/model.py'"),
    ],
)
def test_load_failure_is_the_models_own_sentence(name: str, sentence: str) -> None:
    assert describe_load_failure(read(name).summary, LOG_FILE) == f"{sentence}\nFull log: {LOG_FILE}"


def test_failure_that_follows_from_another_is_left_out() -> None:
    cause = LoadFailure("embedder", "no weights")
    consequence = LoadFailure("recognizer", "ensemble recognizer contains models that are not available: embedder")
    assert LogSummary(failures=[cause, consequence]).causes() == [cause]


def test_reader_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    log_file = tmp_path / "server.log"
    log_file.write_text('2026-11-23T20:37:52Z E 7 a.cc:1] "ha')
    reader = LogReader(log_file, has_gpu=False)
    assert reader.read_new() == []
    with log_file.open("a") as log:
        log.write('lf"\n')
    assert [line.message for line in reader.read_new()] == ["half"]


def test_death_names_the_signal_and_the_last_errors() -> None:
    now_s = time.monotonic()
    summary = LogSummary(errors=["refused long ago", "one", "two"], error_times_s=[now_s - 16, now_s, now_s])
    assert describe_death(-9, summary, LOG_FILE) == (
        f"The server ended unexpectedly (killed by SIGKILL). Last errors: one / two Full log: {LOG_FILE}"
    )
    assert "exit code 1" in describe_death(1, LogSummary(), LOG_FILE)


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("/a b/bin/tritonserver: unrecognized option '--nonsense=1'\n", "", "unrecognized option '--nonsense=1'"),
        ("", "Unexpected argument: grpc-use-ssl\n", "Unexpected argument: grpc-use-ssl"),
        (
            "",
            'Bad option: "--log-verbose".\nInvalid option value. Got x\n\n',
            'Bad option: "--log-verbose". Invalid option value. Got x',
        ),
    ],
)
def test_refused_option_is_quoted(tmp_path: Path, first: str, last: str, said: str) -> None:
    """The output of tritonserver 2.51.0, with a part of its options."""
    usage = "Usage: tritonserver [options]\n  --help\n\tPrint usage\n\nServer:\n  --id <string>\n\tIdentifier\n\n"
    (tmp_path / "server.log").write_text(first + usage + last)
    reader = LogReader(tmp_path / "server.log", has_gpu=False)
    reader.read_new()
    failure = describe_load_failure(reader.summary, LOG_FILE)
    assert failure.splitlines()[0] == f"The server does not take its options: {said} Correct --server-option."


def test_death_quotes_what_a_program_says_last_without_a_time(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    line = "2026-11-23T20:37:52Z I 7 a.cc:1] loading: one:1\n"
    log.write_text(f"of the start\n{line}terminate called after throwing an instance of 'std::bad_alloc'\n")
    reader = LogReader(log, has_gpu=False)
    reader.read_new()
    death = describe_death(-6, reader.summary, LOG_FILE)
    assert "Last errors: terminate called after throwing an instance of 'std::bad_alloc' Full log" in death


def test_slow_start_names_what_still_loads() -> None:
    summary = LogSummary(loading=["a", "b"], loaded=["a"])
    assert "not ready after 3 s; models still loading: b." in describe_slow_start(summary, 3, LOG_FILE)
