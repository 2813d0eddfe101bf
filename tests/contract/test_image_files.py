"""The image's files without building it: linted, pinned, and holding what the models import."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name

from ops.packaging.image.build import HERE
from ops.server.launch import ALLOCATOR
from ops.settings import REPOSITORY, ROOT

DOCKERFILE = (HERE / "Dockerfile").read_text(encoding="utf-8")
PINNED = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


def test_dockerfile_has_no_findings() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run([linter, HERE / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_allocator_is_told_as_by_the_local_server() -> None:
    (told,) = re.findall(r"^ENV (MALLOC_.*)$", DOCKERFILE, re.MULTILINE)
    assert dict(setting.split("=") for setting in told.split()) == ALLOCATOR


def test_packages_are_pinned_as_everywhere_and_by_hash() -> None:
    requirements = (HERE / "requirements.txt").read_text(encoding="utf-8")
    constraints = dict(PINNED.findall((ROOT / "constraints.txt").read_text(encoding="utf-8")))
    pinned = dict(PINNED.findall(requirements))
    assert pinned
    assert {name: constraints.get(name) for name in pinned} == pinned
    blocks = re.split(r"^(?=\S)", requirements, flags=re.MULTILINE)
    assert [block for block in blocks if PINNED.match(block) and "--hash=sha256:" not in block] == []


def test_packages_are_those_the_models_import() -> None:
    own = {"triptych_models", "triton_python_backend_utils"}
    # The profile gpu-torch wants an image with torch in it; this one serves the others.
    served = [path for path in REPOSITORY.rglob("*.py") if not path.name.startswith("torch_")]
    assert {path.name for path in served} >= {"model.py", "adapter.py"}
    imported = {name for path in served for name in imports(path)}
    foreign = imported - own - set(sys.stdlib_module_names)
    providers = importlib.metadata.packages_distributions()
    needed = {canonicalize_name(name) for module in foreign for name in providers[module]}
    installed = {
        canonicalize_name(name) for name, _ in PINNED.findall((HERE / "requirements.txt").read_text(encoding="utf-8"))
    }
    assert needed - installed == set()


def test_packages_are_installed_where_the_models_look_and_as_pinned() -> None:
    (command,) = re.findall(r"^RUN (.*pip install.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    assert {"--no-deps", "--require-hashes", "--only-binary=:all:"} <= set(command.split())
    assert not re.search(r"--(target|prefix|user|root)\b", command)


def imports(file: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain} | {
        node.module.partition(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.module
    }
