"""The table of Triton's published vulnerabilities, `vulnerabilities.yaml`: which release has which, and what helps.

python -m ops.packaging.vulnerabilities docs/reference/vulnerabilities.md
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("vulnerabilities.yaml")
STATES = ("closed", "reduced", "open", "absent")
_BULLETIN = "https://nvidia.custhelp.com/app/answers/detail/a_id"
_RECORD = "https://www.cve.org/CVERecord?id="


@dataclass(frozen=True)
class Vulnerability:
    """One CVE.

    Attributes:
        effect: what a caller can do.
        fixed_in: first release that NVIDIA's record does not call affected, as `25.07`.
        bulletin: number of NVIDIA's security bulletin.
        state: one of `STATES`, for the wheel's server behind the front; the table's file explains them.
        measures: names in `Table.measures`.
    """

    id: str
    component: str
    effect: str
    fixed_in: str
    bulletin: int
    state: str
    measures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """The whole file.

    Attributes:
        measures: name -> sentence.
        tests: name of a measure -> files that prove that it acts.
        accepted: server -> reason for which its open vulnerabilities are accepted.
    """

    vulnerabilities: tuple[Vulnerability, ...]
    measures: dict[str, str]
    tests: dict[str, tuple[str, ...]]
    accepted: dict[str, str]
    wheel_release: str
    wheel_version: str
    wheel_package: str
    read_on: str
    newest: str

    def affecting(self, release: str) -> list[Vulnerability]:
        """Returns those that a release, as `24.10`, has."""
        return [each for each in self.vulnerabilities if release < each.fixed_in]

    @property
    def first_clean_release(self) -> str:
        """The first release that has none of them."""
        return max(each.fixed_in for each in self.vulnerabilities)


def read_table(file: Path = TABLE) -> Table:
    text: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return Table(
        vulnerabilities=tuple(
            Vulnerability(**{**entry, "measures": tuple(entry.get("measures", ()))})
            for entry in text["vulnerabilities"]
        ),
        measures={name: measure["text"] for name, measure in text["measures"].items()},
        tests={name: tuple(measure["tests"]) for name, measure in text["measures"].items()},
        accepted={entry["server"]: entry["reason"].strip() for entry in text["accepted"]},
        wheel_release=text["wheel"]["release"],
        wheel_version=text["wheel"]["version"],
        wheel_package=text["wheel"]["package"],
        read_on=str(text["read_on"]),
        newest=str(text["newest"]),
    )


def render_page(table: Table) -> str:
    """Returns the page of the documentation."""
    count = {state: sum(each.state == state for each in table.vulnerabilities) for state in STATES}
    parts = [
        "# Vulnerabilities of Triton",
        "",
        "<!-- Written by `make generate` from ops/packaging/vulnerabilities.yaml. -->",
        "",
        f"The wheel's server, Triton {table.wheel_version} of release {table.wheel_release}, has all of these. Here",
        f"{', '.join(f'{count[state]} are {state}' for state in STATES)}.",
        f"**Use the image of Triton {table.first_clean_release} or later in production:** as far as the records say,",
        "it has none of them. The chart and the Dockerfile name a later one.",
        "",
        f"Source: NVIDIA's CVE records, read on {table.read_on}; the newest is of {table.newest}. The bulletins that",
        "they link could not be opened; the fix of CVE-2024-53880 is from an analysis that quotes one. Later faults,",
        "and those of other software in the image, are not in the table.",
        "",
        "- closed: the trigger is published, and the measure stops it;",
        "- reduced: the record does not tell the trigger, and the measure stops likely ones;",
        "- open: no measure is known to help;",
        "- absent: the wheel lacks the component.",
        "",
        "| CVE | component | what a caller can do | fixed in | here | measures |",
        "|---|---|---|---|---|---|",
        *map(_row, table.vulnerabilities),
        "",
        "## Measures",
        "",
        "The tests prove that a measure acts, not that it covers every trigger.",
        "",
        "| measure | what it does | tests |",
        "|---|---|---|",
        *(
            f"| {name} | {text} | {', '.join(f'`{file}`' for file in table.tests[name])} |"
            for name, text in table.measures.items()
        ),
    ]
    return "\n".join(parts) + "\n"


def _row(each: Vulnerability) -> str:
    record = f"[{each.id}]({_RECORD}{each.id})"
    fixed = f"{each.fixed_in} ([{each.bulletin}]({_BULLETIN}/{each.bulletin}))"
    cells = (record, each.component, each.effect, fixed, each.state, ", ".join(each.measures) or "-")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render_page(read_table()), encoding="utf-8")
