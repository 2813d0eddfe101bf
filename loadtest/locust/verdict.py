"""Checks of a run, each passed or failed with its reason, and the verdict over all of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from loadtest.locust.run_result import RunResult
from loadtest.server.objectives import Objective
from loadtest.traffic.calls import BAD_PHOTO_ANSWERED, REFUSE, WRONG_ANSWER, expected_requests
from loadtest.traffic.latency_histogram import CallCounts

# Allowed failures of an overloaded server; other failures are faults under any load.
OVERLOAD = ("Overloaded", "DeadlineExceeded")
# Highest lag of the generator's loop at its 99th percentile, as a share of the objective's latency bound.
LAG_SHARE = 0.1

Result = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        reason: the found and the expected value, whatever the result.
    """

    name: str
    result: Result
    reason: str


@dataclass(frozen=True)
class Verdict:
    """All checks of all runs, by the run's name."""

    checks: dict[str, list[Check]]

    @property
    def passed(self) -> bool:
        return not self.failed()

    def failed(self) -> list[str]:
        return [
            f"{run}: {check.name}" for run, each in self.checks.items() for check in each if check.result == "failed"
        ]

    def as_json(self) -> dict[str, Any]:
        return {run: [asdict(check) for check in checks] for run, checks in self.checks.items()}

    def write_junit(self, file: Path) -> None:
        """One suite per run, one case per check, in the format that CI systems read."""
        suites = ET.Element("testsuites", name="loadtest")
        for run, checks in self.checks.items():
            numbers = {result: sum(check.result == result for check in checks) for result in ("failed", "skipped")}
            suite = ET.SubElement(
                suites, "testsuite", name=f"loadtest.{run}", tests=str(len(checks)), errors="0",
                failures=str(numbers["failed"]), skipped=str(numbers["skipped"]),
            )  # fmt: skip
            for check in checks:
                case = ET.SubElement(suite, "testcase", classname=f"loadtest.{run}", name=check.name)
                if check.result == "passed":
                    ET.SubElement(case, "system-out").text = check.reason
                else:
                    ET.SubElement(case, {"failed": "failure", "skipped": "skipped"}[check.result], message=check.reason)
        ET.ElementTree(suites).write(file, encoding="utf-8", xml_declaration=True)


def check_run(
    run: RunResult,
    objective: Objective,
    counted: Mapping[str, int],
    *,
    bad_share: float,
    searcher_calls_recognizer: bool,
) -> list[Check]:
    """All checks of one run.

    Args:
        run: the result.
        objective: for the shape's objective phase.
        counted: requests that the server counted during the run, by model.
        bad_share: share of calls that sent invalid photos.
        searcher_calls_recognizer: whether the server counts a search as a request of both models.
    """
    return [
        *_check_objective(run, objective),
        _check_failures(run),
        _check_bad_photos(run, bad_share),
        _check_references(run),
        *_check_counts(run, counted, searcher_calls_recognizer),
        _check_generator(run, objective),
    ]


def _check_objective(run: RunResult, objective: Objective) -> list[Check]:
    phase = run.shape.objective_phase
    if phase is None:
        return [Check("objective", "skipped", f"The shape {run.shape.name} overloads the server on purpose.")]
    counts = run.phase_total(phase)
    if not counts.calls:
        return [Check("objective", "failed", f"No call ended in phase {phase!r}.")]
    return [_check_availability(counts, objective, phase), _check_latency(counts, objective, phase)]


def _check_availability(counts: CallCounts, objective: Objective, phase: str) -> Check:
    share = counts.answered / counts.calls
    found = f"{share:.2%} of {counts.calls} calls in {phase!r} were answered, expected {objective.availability:.2%}"
    failures = ", ".join(f"{count} {reason}" for reason, count in counts.failures.most_common())
    return _check("availability", share >= objective.availability, f"{found}{failures and f': {failures}'}.")


def _check_latency(counts: CallCounts, objective: Objective, phase: str) -> Check:
    bound = f"{objective.under_s * 1e3:g} ms"
    if not counts.answered:
        return Check("latency", "failed", f"No call in {phase!r} was answered, expected answers in less than {bound}.")
    share = counts.within / counts.answered
    percentile = counts.percentile_ms(objective.fast_share * 100)
    reason = (
        f"{share:.2%} of {counts.answered} answers in {phase!r} took less than {bound}, expected "
        f"{objective.fast_share:.0%}; p{objective.fast_share * 100:g} is {percentile:.0f} ms."
    )
    return _check("latency", share >= objective.fast_share, reason)


def _check_failures(run: RunResult) -> Check:
    total = run.histogram.total()
    may_overload = run.shape.objective_phase is None or run.shape.name == "spike"
    # The checks below report these.
    known = {BAD_PHOTO_ANSWERED, WRONG_ANSWER, *(OVERLOAD if may_overload else ())}
    faults = {reason: count for reason, count in total.failures.items() if reason not in known}
    if faults:
        named = "; ".join(f"{count} {reason}: {run.examples.get(reason, '')}" for reason, count in faults.items())
        return Check("failures", "failed", f"Unexpected failures in {total.calls} calls: {named}")
    overloaded = sum(total.failures[reason] for reason in OVERLOAD)
    return _check("failures", total.calls > 0, f"{total.calls} calls, {overloaded} refused by a full server.")


def _check_bad_photos(run: RunResult, bad_share: float) -> Check:
    counts = run.histogram.total([REFUSE])
    if not counts.calls:
        # With 1 % invalid photos and 500 calls, one run in 150 has none: (1 - share)^calls.
        is_chance = (1 - bad_share) ** run.histogram.total().calls > 0.01
        return Check("invalid photos", "skipped" if is_chance else "failed", f"None was sent (share {bad_share:g}).")
    answered = counts.failures[BAD_PHOTO_ANSWERED]
    reason = f"{counts.answered} of {counts.calls} invalid photos were refused, {answered} were answered."
    return _check("invalid photos", answered == 0, f"{reason} {run.examples.get(BAD_PHOTO_ANSWERED, '')}".strip())


def _check_references(run: RunResult) -> Check:
    wrong = run.histogram.total().failures[WRONG_ANSWER]
    if wrong:
        return Check("reference answers", "failed", f"{wrong} answers differ. {run.examples.get(WRONG_ANSWER, '')}")
    reason = (
        f"{run.compared} comparisons with answers without load and with first answers; the largest difference is "
        f"{run.largest_difference:.2g}."
    )
    return _check("reference answers", run.compared > 0, reason)


def _check_counts(run: RunResult, counted: Mapping[str, int], searcher_calls_recognizer: bool) -> list[Check]:
    checks = []
    for model, (sent, uncertain) in expected_requests(run.histogram, searcher_calls_recognizer).items():
        found = counted.get(model, 0)
        allowed = f" ({uncertain} of them may not have arrived)" if uncertain else ""
        reason = f"{sent} requests were sent{allowed}, the server counted {found}."
        checks.append(_check(f"counts of {model}", sent - uncertain <= found <= sent, reason))
    return checks


def _check_generator(run: RunResult, objective: Objective) -> Check:
    lag_ms, most_ms = run.lag_ms(99), objective.under_s * 1e3 * LAG_SHARE
    if lag_ms is None:
        return Check("generator", "failed", "The lag of the generator's loop was not measured.")
    reason = f"p99 of the lag of the generator's loop is {lag_ms:.1f} ms, expected at most {most_ms:g}."
    if lag_ms > most_ms:
        reason += " The generator limits the figures: give it its own cores, or more processes with --workers."
    return _check("generator", lag_ms <= most_ms, reason)


def _check(name: str, passed: bool, reason: str) -> Check:
    return Check(name, "passed" if passed else "failed", reason)
