import argparse
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from ops.cli.main import build_parser, main
from ops.cli.options import build_settings
from ops.errors import OpsError, WrongUsage
from ops.server.launch import anchor_options, command_line, environment, refuse_unquoted, server_options
from ops.server.server_binary import (
    PythonBackend,
    SystemServer,
    WheelServer,
    find_libpython,
    find_server,
    find_stub,
    make_environment,
    refuse_separators,
)
from ops.settings import Ports, Settings
from ops.supervision.serve import as_arguments

PORTS = Ports(http=1, grpc=2, metrics=3)
WHEEL = WheelServer(Path("/w/tritonserver/bin/tritonserver"), libraries=Path("/w.libs"))
BACKEND = PythonBackend(Path("/run/backends"), (Path("/w.libs"), Path("/py/lib")), Path("/env/bin"))
CATALOGUE = (Path("/c"), Path("/k"))
FOLDERS = (Path("/run/serving"), Path("/run/tmp"))


def test_options_listen_on_this_machine_only() -> None:
    options = server_options(Settings(repository=Path("/served")), PORTS, "p_")
    for service, port in (("http", 1), ("grpc", 2), ("metrics", 3)):
        assert f"--{service}-address=127.0.0.1" in options
        assert f"--{service}-port={port}" in options
    # A shell that does not quote names sees this one: relative to the server's working directory, it is always plain.
    assert "--model-repository=models" in options
    assert "--backend-config=python,shm-region-prefix-name=p_" in options


def test_options_leave_out_what_is_off() -> None:
    plain = " ".join(server_options(Settings(profile=None), PORTS, "p_"))
    assert not any(word in plain for word in ("--model-config-name", "--log-verbose", "--trace-config"))
    full = server_options(Settings(profile="gpu", log_level="verbose"), PORTS, "p_")
    assert {"--model-config-name=gpu", "--log-verbose=1"} <= set(full)
    assert server_options(Settings(server_options=("--a=1", "--b=2")), PORTS, "p_")[-2:] == ["--a=1", "--b=2"]


def test_options_send_traces_where_they_are_wanted() -> None:
    options = server_options(Settings(trace_to="http://127.0.0.1:4318/v1/traces", trace_rate=50), PORTS, "p_")
    wanted = {"mode=opentelemetry", "opentelemetry,url=http://127.0.0.1:4318/v1/traces", "rate=50", "level=TIMESTAMPS"}
    assert {f"--trace-config={value}" for value in wanted} <= set(options)


def test_wheel_gets_its_folders_and_a_system_server_keeps_its_own() -> None:
    wheel = command_line(WHEEL, BACKEND, FOLDERS[0], ["--x"])
    assert wheel[1:] == ["--x", "--backend-directory=../backends"]
    assert command_line(SystemServer(Path("/opt/t")), None, FOLDERS[0], ["--x"]) == ["/opt/t", "--x"]


def test_environment_lets_no_proxy_have_requests_to_this_machine() -> None:
    proxied = {"http_proxy": "http://127.0.0.1:9", "NO_PROXY": ".example.com"}
    variables = environment(None, *FOLDERS, 64, *CATALOGUE, 2, proxied)
    assert variables["no_proxy"] == variables["NO_PROXY"] == ".example.com,127.0.0.1,localhost,::1"
    assert variables["http_proxy"] == "http://127.0.0.1:9"


@pytest.mark.parametrize("folder", ["/opt/my backends", "/opt/it's", "/opt/$HOME", "/opt/a;b", "/opt/(x)", "/opt/a#b"])
def test_folder_of_backends_that_a_shell_would_split_is_refused(folder: str) -> None:
    refuse_unquoted(["--backend-directory=/opt/tritonserver/backends"])
    with pytest.raises(WrongUsage, match=r"--backend-directory is .* without quoting it. Name a link to the folder"):
        refuse_unquoted([f"--backend-directory={folder}"])


def test_environment_puts_the_wheels_libraries_and_this_python_first() -> None:
    variables = environment(BACKEND, *FOLDERS, 64, *CATALOGUE, 2, {"PATH": "/usr/bin", "LD_LIBRARY_PATH": ""})
    assert variables["PATH"] == "/env/bin:/usr/bin"
    assert variables["LD_LIBRARY_PATH"] == "/w.libs:/py/lib"
    assert environment(None, *FOLDERS, 64, *CATALOGUE, 2, {"PATH": "/usr/bin"})["PATH"] == "/usr/bin"


def test_environment_gives_the_models_their_cache_size_and_temporary_folder() -> None:
    variables = environment(None, *FOLDERS, 7, *CATALOGUE, 2, {"TMPDIR": "/tmp", "HOME": "/h"})
    assert variables.items() >= {"TMPDIR": "/run/tmp", "TRIPTYCH_CACHE_MB": "7", "HOME": "/h"}.items()
    catalogue = {"TRIPTYCH_CATALOGUE_DIR": "/c", "TRIPTYCH_CATALOGUE_KEY_FILE": "/k", "TRIPTYCH_RESTARTS": "2"}
    assert variables.items() >= catalogue.items()


def test_environment_puts_the_folder_of_the_package_first() -> None:
    assert environment(None, *FOLDERS, 0, *CATALOGUE, 2, {})["PYTHONPATH"] == "/run/serving"
    assert environment(None, *FOLDERS, 0, *CATALOGUE, 2, {"PYTHONPATH": "/a"})["PYTHONPATH"] == "/run/serving:/a"


def test_files_that_the_user_names_are_those_of_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = (
        "--grpc-server-cert=./x.pem",
        "--grpc-root-cert=/ca.pem",
        "--trace-config=triton,file=t.json",
        "--rate=1/2",
    )
    meant = (
        f"--grpc-server-cert={tmp_path}/x.pem",
        given[1],
        f"--trace-config=triton,file={tmp_path}/t.json",
        given[3],
    )
    assert anchor_options(given) == meant
    named = {"TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE": "keys/weaviate"}
    variables = environment(None, *FOLDERS, 0, *CATALOGUE, 2, named)
    assert variables["TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE"] == f"{tmp_path}/keys/weaviate"
    words = as_arguments(Settings(server_options=given), tmp_path)
    assert f"--server-option={meant[0]}" in words


@pytest.mark.parametrize(("profile", "trace_to"), [("gpu", None), (None, "http://127.0.0.1:4318/v1/traces")])
def test_detached_arguments_build_the_same_settings(profile: str | None, trace_to: str | None) -> None:
    settings = Settings(
        repository=Path("/m"), profile=profile, http_port=0, cache_mb=0, trace_to=trace_to, state_dir=Path("/s")
    )
    settings = dataclasses.replace(settings, server_options=("--grpc-use-ssl=true", "--log-verbose=1"))
    words = ["serve", *as_arguments(settings, Path("/s"))]
    assert build_settings(build_parser().parse_args(words)) == settings


def test_named_server_is_taken_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tritonserver"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("TRITONSERVER", str(program))
    assert find_server(tmp_path) == SystemServer(program)
    monkeypatch.setenv("TRITONSERVER", str(tmp_path))
    with pytest.raises(OpsError, match="not a program"):
        find_server(tmp_path)


def test_server_on_path_is_taken_before_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITONSERVER", raising=False)
    program = tmp_path / "tritonserver"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server(tmp_path) == SystemServer(program)


def test_other_platform_is_shown_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITONSERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(
        OpsError,
        match=r"(?s)Linux on x86-64.*docker run .*/models:ro.* -w /models -e PYTHONPATH=/models .*=/models/models",
    ):
        find_server(tmp_path)


def test_python_without_a_stub_is_told_which_have_one(tmp_path: Path) -> None:
    for version in ("3.9", "3.10"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "triton_python_backend_stub").write_text("")
    assert find_stub(tmp_path, "3.10").parent.name == "3.10"
    with pytest.raises(OpsError, match=r"This is Python 3\.14.*exists for 3\.9, 3\.10"):
        find_stub(tmp_path, "3.14")


def test_python_without_shared_library_is_told_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match=r"no shared library libpython3\.11\.so\.1\.0.*apt install.*--enable-shared"):
        find_libpython([tmp_path], "3.11")
    (tmp_path / "libpython3.11.so.1.0").write_text("")
    assert find_libpython([tmp_path / "absent", tmp_path], "3.11").parent == tmp_path


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["serve", "--bogus"],
        ["serve", "--cache-mb=-1"],
        ["serve", "--http=1"],
        ["serve", "--drain-timeout-s=nan"],
        ["serve", "--trace-to=127.0.0.1:4318"],
        ["serve", "--trace-rate=0"],
    ],
)
def test_unknown_or_impossible_option_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_parser_defaults_equal_the_settings() -> None:
    arguments: argparse.Namespace = build_parser().parse_args(["serve"])
    built = build_settings(arguments)
    assert built == Settings(state_dir=built.state_dir)


@pytest.mark.parametrize("folder", ["/opt/a:b", "/opt/a;b"])
def test_folder_that_no_search_path_can_hold_is_refused(folder: str, tmp_path: Path) -> None:
    wheel = WheelServer(Path(folder) / "bin/tritonserver", libraries=Path(folder) / "libs")
    with pytest.raises(OpsError, match=r"/libs has a '[:;]' in its name, which ends a name in LD_LIBRARY_PATH"):
        refuse_separators(wheel, tmp_path)
    refuse_separators(WHEEL, tmp_path / "a:b;c")  # the state folder stands in no search path


def test_stubs_environment_has_the_packages_and_no_pth_file_that_is_not_ascii(tmp_path: Path) -> None:
    packages = tmp_path / "shöp"
    packages.mkdir()
    (packages / "installed_module.py").write_text("")
    (packages / "editable.pth").write_text(f"{tmp_path}/shöp/source\n", encoding="utf-8")
    (packages / "plain.pth").write_text("import sys; sys.plain = True\n")
    programs = make_environment(tmp_path / "python", packages)
    assert sorted(path.name for path in programs.parent.rglob("*.pth")) == ["installed.pth", "plain.pth"]
    program = "import installed_module, sys; assert sys.plain; print(sys.prefix)"
    done = subprocess.run([programs / "python3", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "python")
