"""Reads PromQL with a parser of its own: which metrics an expression names, and by which selectors."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser as promql


def find_selectors(expr: str) -> list[str]:
    """Every instant selector in it, with its matchers and without windows, offsets and functions."""
    return [_write(node) for node in _walk(promql.parse(expr))]


def find_metrics(expr: str) -> set[str]:
    return {node.name for node in _walk(promql.parse(expr)) if node.name}


def _walk(node: promql.Expr) -> Iterator[promql.VectorSelector]:
    if isinstance(node, promql.VectorSelector):
        yield node
    elif isinstance(node, promql.MatrixSelector):
        yield node.vector_selector
    elif isinstance(node, promql.BinaryExpr):
        yield from _walk(node.lhs)
        yield from _walk(node.rhs)
    elif isinstance(node, promql.Call):
        for argument in node.args:
            yield from _walk(argument)
    elif isinstance(node, promql.AggregateExpr | promql.UnaryExpr | promql.ParenExpr | promql.SubqueryExpr):
        yield from _walk(node.expr)


def _write(node: promql.VectorSelector) -> str:
    matchers = [
        f'{one.name}{_OPERATORS[str(one.op).rpartition(".")[2]]}"{one.value}"' for one in node.matchers.matchers
    ]
    return f"{node.name or ''}{{{', '.join(matchers)}}}"


_OPERATORS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
