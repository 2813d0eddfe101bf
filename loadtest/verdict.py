"""From what happened in a run to passed or failed, each with its reason; JUnit of it. No I/O but the files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from loadtest.objectives import Objective
from loadtest.run_outcome import RunOutcome
from loadtest.tally import Cell
from loadtest.traffic import BAD_PHOTO_ANSWERED, REFUSE, WRONG_ANSWER, count_calls

# What a server that is asked for more than it can do may answer. Anything else is a fault under any load.
OVERLOAD = ("Overloaded", "DeadlineExceeded")
# The generator's loop may be late by this share of the bound on an answer, at its 99th percentile.
LAG_SHARE = 0.1

Result = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        reason: what was found and what was expected, whatever the result.
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
        return not any(check.result == "failed" for checks in self.checks.values() for check in checks)

    def as_json(self) -> dict[str, Any]:
        """Run -> checks as plain values."""
        return {run: [asdict(check) for check in checks] for run, checks in self.checks.items()}

    def write_junit(self, file: Path) -> None:
        """A suite a run, a case a check, as CI systems read them."""
        suites = ET.Element("testsuites", name="loadtest")
        for run, checks in self.checks.items():
            counts = {result: sum(check.result == result for check in checks) for result in ("failed", "skipped")}
            suite = ET.SubElement(
                suites, "testsuite", name=f"loadtest.{run}", tests=str(len(checks)), errors="0",
                failures=str(counts["failed"]), skipped=str(counts["skipped"]),
            )  # fmt: skip
            for check in checks:
                case = ET.SubElement(suite, "testcase", classname=f"loadtest.{run}", name=check.name)
                if check.result == "passed":
                    ET.SubElement(case, "system-out").text = check.reason
                else:
                    ET.SubElement(case, {"failed": "failure", "skipped": "skipped"}[check.result], message=check.reason)
        ET.ElementTree(suites).write(file, encoding="utf-8", xml_declaration=True)


def judge(
    run: RunOutcome,
    objective: Objective,
    before: dict[str, int],
    after: dict[str, int],
    *,
    bad_share: float,
    searcher_asks_recognizer: bool,
) -> list[Check]:
    """Every check of one run.

    Args:
        run: what happened.
        objective: that the judged phase must hold.
        before: requests that the server had counted, by model.
        after: the same, once the run was over.
        bad_share: of the calls, that sent what is no photo.
        searcher_asks_recognizer: whether the server counts a search as a request of both models.
    """
    return [
        *_check_objective(run, objective),
        _check_outcomes(run),
        _check_bad_photos(run, bad_share),
        _check_golden(run),
        *_check_counts(run, before, after, searcher_asks_recognizer),
        _check_generator(run, objective),
    ]


def _check_objective(run: RunOutcome, objective: Objective) -> list[Check]:
    judged = run.shape.judged
    if judged is None:
        return [Check("objective", "skipped", f"{run.shape.name} overloads on purpose; its figures are below.")]
    cell = run.phase_total(judged)
    if not cell.calls:
        return [Check("objective", "failed", f"No call ended in phase {judged!r}: nothing was measured.")]
    return [_check_availability(cell, objective, judged), _check_latency(cell, objective, judged)]


def _check_availability(cell: Cell, objective: Objective, phase: str) -> Check:
    share = cell.answered / cell.calls
    found = f"{share:.2%} of {cell.calls} calls in {phase!r} were answered, expected {objective.availability:.2%}"
    failures = ", ".join(f"{count} {reason}" for reason, count in cell.failures.most_common())
    return _check("availability", share >= objective.availability, f"{found}{failures and f': {failures}'}.")


def _check_latency(cell: Cell, objective: Objective, phase: str) -> Check:
    bound = f"{objective.under_s * 1e3:g} ms"
    if not cell.answered:
        return Check("latency", "failed", f"No call in {phase!r} was answered, expected answers in less than {bound}.")
    share = cell.within / cell.answered
    percentile = cell.percentile_ms(objective.fast_share * 100)
    reason = (
        f"{share:.2%} of {cell.answered} answers in {phase!r} came in less than {bound}, expected "
        f"{objective.fast_share:.0%}; p{objective.fast_share * 100:g} is {percentile:.0f} ms."
    )
    return _check("latency", share >= objective.fast_share, reason)


def _check_outcomes(run: RunOutcome) -> Check:
    total = run.tally.total()
    may_overload = run.shape.judged is None or run.shape.name == "spike"
    # What the checks below count is not said twice.
    known = {BAD_PHOTO_ANSWERED, WRONG_ANSWER, *(OVERLOAD if may_overload else ())}
    faults = {reason: count for reason, count in total.failures.items() if reason not in known}
    if faults:
        named = "; ".join(f"{count} {reason}: {run.examples.get(reason, '')}" for reason, count in faults.items())
        return Check("outcomes", "failed", f"Of {total.calls} calls, expected none to end so: {named}")
    overloaded = sum(total.failures[reason] for reason in OVERLOAD)
    return _check("outcomes", total.calls > 0, f"{total.calls} calls, {overloaded} turned away by a full server.")


def _check_bad_photos(run: RunOutcome, bad_share: float) -> Check:
    cell = run.tally.total([REFUSE])
    if not cell.calls:
        # Of n calls none is bad with probability (1 - share)^n: with 1 % and 500 calls, one run in 150.
        is_chance = (1 - bad_share) ** run.tally.total().calls > 0.01
        return Check("bad photos", "skipped" if is_chance else "failed", f"None was sent (share {bad_share:g}).")
    answered = cell.failures[BAD_PHOTO_ANSWERED]
    reason = f"{cell.answered} of {cell.calls} were refused, {answered} were answered as if they were photos."
    return _check("bad photos", answered == 0, f"{reason} {run.examples.get(BAD_PHOTO_ANSWERED, '')}".strip())


def _check_golden(run: RunOutcome) -> Check:
    wrong = run.tally.total().failures[WRONG_ANSWER]
    if wrong:
        return Check("golden answers", "failed", f"{wrong} differ. {run.examples.get(WRONG_ANSWER, '')}")
    reason = (
        f"{run.compared} comparisons with answers given alone and first; the largest difference is {run.largest:.2g}."
    )
    return _check("golden answers", run.compared > 0, reason)


def _check_counts(
    run: RunOutcome, before: dict[str, int], after: dict[str, int], searcher_asks_recognizer: bool
) -> list[Check]:
    checks = []
    for model, (ours, uncertain) in count_calls(run.tally, searcher_asks_recognizer).items():
        theirs = after.get(model, 0) - before.get(model, 0)
        allowed = f" ({uncertain} of ours may not have arrived)" if uncertain else ""
        reason = f"{ours} requests of ours, {theirs} in the server's counters{allowed}."
        checks.append(_check(f"counts of {model}", ours - uncertain <= theirs <= ours, reason))
    return checks


def _check_generator(run: RunOutcome, objective: Objective) -> Check:
    lag_ms, most_ms = run.lag_ms(99), objective.under_s * 1e3 * LAG_SHARE
    if lag_ms is None:
        return Check("generator", "failed", "Its loop never turned: nothing was measured.")
    reason = f"its loop was at most {lag_ms:.1f} ms late 99 % of the time, expected {most_ms:g}."
    if lag_ms > most_ms:
        reason += " The figures are the generator's as much as the server's: give it cores of its own, or --workers."
    return _check("generator", lag_ms <= most_ms, reason[:1].upper() + reason[1:])


def _check(name: str, passed: bool, reason: str) -> Check:
    return Check(name, "passed" if passed else "failed", reason)
