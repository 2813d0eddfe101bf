"""`python -m tests.faults.report`: what the last runs of the tier saw, as tables in Markdown. Runs nothing.

make faults && .venv/bin/python -m tests.faults.report
"""

from __future__ import annotations

import sys

from tests.faults.records import FOLDER, AttackRow, FaultRow, InputRow, read


def fault_table(rows: list[FaultRow]) -> list[str]:
    lines = ["| fault | servers | tries | lost | wrong | recovery s | test |", "|---|---|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: (row.servers, row.fault)):
        lost = ", ".join(f"{count} {kind}" for kind, count in sorted(row.lost.items())) or "0"
        lines.append(
            f"| {row.fault} | {row.servers} | {row.tries} | {lost} | {row.wrong} | {row.recovery_s:g} | `{row.test}` |"
        )
    return lines


def input_table(rows: list[InputRow]) -> list[str]:
    lines = [
        "| input class | against | tries | refused | answered | crashed | most CPU s | most MB | test |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (row.against, row.kind)):
        cpu = "" if row.most_cpu_s is None else f"{row.most_cpu_s:.2f}"
        memory = "" if row.most_memory_bytes is None else f"{row.most_memory_bytes / 1e6:.0f}"
        counts = f"{row.tries} | {row.refused} | {row.answered} | {row.crashed}"
        lines.append(f"| {row.kind} | {row.against} | {counts} | {cpu} | {memory} | `{row.test}` |")
    return lines


def attack_table(rows: list[AttackRow]) -> list[str]:
    lines = [
        "| attack | answer | most MB more | MB kept | others' p99 before, s | beside it, s | others' lost | test |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row.attack):
        memory = f"{row.most_memory_mb} | {row.kept_memory_mb}"
        calls = f"{row.calm_p99_s:.2f} | {row.attacked_p99_s:.2f} | {row.lost}"
        lines.append(f"| {row.attack} | {row.answer} | {memory} | {calls} | `{row.test}` |")
    return lines


def main() -> int:
    faults, inputs, attacks = read(FaultRow), read(InputRow), read(AttackRow)
    if not (faults or inputs or attacks):
        print(f"Nothing in {FOLDER}. Run the tier first: make faults", file=sys.stderr)
        return 1
    print("\n".join([*fault_table(faults), "", *input_table(inputs), "", *attack_table(attacks)]))
    total = sum(row.tries for row in inputs)
    print(f"\n{total} hostile inputs, {sum(row.crashed for row in inputs)} crashed; run one with pytest TEST.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
