"""The chart's Job, its image and `make loadtest` run one and the same file."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import yaml

from loadtest.cli.main import make_parser
from loadtest.locust.runner import LOCUSTFILE
from loadtest.locust.shapes import SHAPES
from ops.packaging.chart_files import CHART
from ops.settings import ROOT

DOCKERFILE = ROOT / "loadtest/Dockerfile"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["loadTest"]


def parsed(words: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(words)


def test_job_runs_the_locust_command_on_photos_that_its_image_has() -> None:
    assert VALUES["command"] == ["python", "-m", "loadtest"]
    options = parsed(VALUES["args"])
    assert options.run.args[0].__module__ == "loadtest.cli.locust_command"
    assert set(options.shapes) <= set(SHAPES)
    assert f"COPY .cache/photos {options.photos}\n" in DOCKERFILE.read_text(encoding="utf-8")


def test_make_runs_the_same_command() -> None:
    recipe = re.search(r"^loadtest:.*\n\t(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe is not None
    words = recipe[1].partition("-m loadtest ")[2].split()
    assert parsed(words).run.args[0] is parsed(VALUES["args"]).run.args[0]


def test_image_holds_the_locustfile_and_the_objectives() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    copied = [Path(word) for words in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for word in words.split()]
    needed = (LOCUSTFILE.relative_to(ROOT), Path("ops/slo.yaml"), Path("constraints.txt"))
    for path in needed:
        assert any(path.is_relative_to(source) for source in copied), path
    ignored = (ROOT / "loadtest/Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert [source for source in map(str, copied) if f"!{source}" not in ignored] == []
    assert yaml.safe_load(text.partition("CMD ")[2]) == VALUES["args"]


def test_job_runs_without_the_serving_package_which_its_image_has_not() -> None:
    assert not [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if "model_repository" in line]
    program = (
        "import sys; sys.modules['triptych_models'] = None\n"
        "import loadtest.cli.main, loadtest.cli.locust_command, loadtest.locust.runner, loadtest.locust.process_state"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_dockerfile_has_no_findings() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_nothing_but_locust_itself_patches_the_standard_library() -> None:
    """No module but the locustfile patches sockets and threads; tritonclient imports gevent, but does not patch."""
    program = (
        "import pkgutil, sys, loadtest, loadtest.cli.main\n"
        "names = {m.name for m in pkgutil.walk_packages(loadtest.__path__, 'loadtest.')}\n"
        "for name in sorted(names - {'loadtest.locust.locustfile', 'loadtest.__main__'}):\n"
        "    __import__(name)\n"
        "import gevent.monkey\n"
        "sys.exit('locust' in sys.modules or gevent.monkey.is_anything_patched())"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_locustfile_and_locust_emit_no_warnings() -> None:
    words = [sys.executable, "-W", "error", "-m", "locust", "-f", str(LOCUSTFILE), "--list"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"GrpcUser", "HttpUser"} <= set((done.stdout + done.stderr).split())
