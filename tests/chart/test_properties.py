"""Random values that the schema accepts: Helm renders consistent, valid objects, or the chart refuses the values."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from tests.chart.invariants import inconsistencies
from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import HelmError, Values, needs_crds, render
from tests.chart.schemas import kube_versions
from tests.chart.test_values_schema import LEAVES, at, resolved

NEWEST = kube_versions()[-1]
EXAMPLES = 60
# Strings that the chart validates; it refuses a random one.
MEANINGFUL = (
    *("modelRepository.fetcher.image", "modelRepository.initContainer.image", "loadTest.image"),
    *("canary.route.service", "nameOverride", "fullnameOverride"),
)


def is_described(schema: dict[str, Any]) -> bool:
    """Whether the schema describes the value completely; the chart passes other values on to Kubernetes."""
    schema = resolved(schema)
    if "object" in schema.get("type", "") and not schema.get("properties"):
        return False
    parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *filter(None, [schema.get("items")])]
    return all(map(is_described, parts))


RANDOM = {
    path: schema
    for path, schema in LEAVES.items()
    if is_described(schema) and not path[0].startswith(("extra", "podSecurityContext", "containerSecurityContext"))
}


def conforming(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that conform to the schema, for the keywords of values.schema.json."""
    schema = resolved(schema)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of(*map(conforming, schema["anyOf"]))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of(*(_of_kind(kind, schema) for kind in kinds))


def _of_kind(kind: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    if kind == "string":
        # `$` of a Python pattern accepts a final line break, `$` of JSON Schema does not.
        pattern = schema.get("pattern", "^.*$").removesuffix("$") + r"\Z"
        printable = st.characters(codec="ascii", min_codepoint=0x20, max_codepoint=0x7E)
        return st.from_regex(pattern, alphabet=printable).filter(lambda text: len(text) >= schema.get("minLength", 0))
    if kind == "array":
        size = {"max_size": min(3, schema.get("maxItems", 3)), "min_size": schema.get("minItems", 0)}
        return st.lists(conforming(schema["items"]), **size, unique_by=repr)
    if kind == "object":
        parts = {name: conforming(part) for name, part in schema.get("properties", {}).items()}
        needed = {name: parts.pop(name) for name in schema.get("required", [])}
        return st.fixed_dictionaries(needed, optional=parts)
    return {
        "integer": st.integers(low, high),
        "number": st.floats(low, high, allow_infinity=False, exclude_min="exclusiveMinimum" in schema),
        "boolean": st.booleans(),
        "null": st.none(),
    }[kind]


def values() -> st.SearchStrategy[Values]:
    """Up to two toggles, merged with one to four random keys."""
    toggles = st.lists(st.sampled_from(sorted(TOGGLES)), max_size=2, unique=True)
    keys: st.SearchStrategy[list[Any]] = st.lists(st.sampled_from(sorted(RANDOM)), min_size=1, max_size=4, unique=True)
    leaves = keys.flatmap(lambda paths: st.tuples(*(conforming(RANDOM[path]).map(partial(at, path)) for path in paths)))
    return st.builds(lambda names, parts: merged(*(TOGGLES[name] for name in names), *parts), toggles, leaves)


@given(values())
@settings(
    max_examples=EXAMPLES,
    deadline=None,  # Helm is slow on a busy machine
    derandomize=True,  # the same examples in each run; add a finding to the matrix
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
def test_values_render_valid_objects_or_are_refused(values: Values) -> None:
    needs_crds()
    try:
        rendered = render(values)
    except HelmError as error:
        if "The chart refuses these values:" in str(error):
            return
        raise
    assert inconsistencies(rendered, NEWEST) == []


@pytest.mark.parametrize("text", ["0", "1e3", "true", "null", "on"])
def test_string_remains_a_string_when_yaml_could_read_another_type(text: str) -> None:
    """Every string that accepts the text gets it at once, with toggles that render every object."""
    needs_crds()
    wide = ("tls", "keda", "pod-monitor", "http-route", "grpc-route", "load-test", "gpu", "ingress", "restricted-key")
    for more in ("repository-pvc", "repository-s3", "repository-gcs", "repository-init-container", "statefulset"):
        values = merged(*(TOGGLES[name] for name in (*wide, more)), {"ingress": {"tls": []}})
        for path, schema in LEAVES.items():
            is_free = path in RANDOM and schema.get("type") == "string" and ".".join(path) not in MEANINGFUL
            if is_free and path[-1] not in ("memory", "sizeLimit") and Draft7Validator(schema).is_valid(text):
                values = merged(values, at(path, text))
        assert inconsistencies(render(values), NEWEST) == []


@pytest.mark.parametrize("text", ["1e3", "true", "null", "on"])
def test_release_and_namespace_remain_strings_when_yaml_could_read_another_type(text: str) -> None:
    """The schema does not check these names, which labels, selectors, queries and addresses contain."""
    needs_crds()
    wide = ("hpa-external", "pod-monitor", "http-route", "load-test", "tracing")
    routes = ("keda", "service-monitor", "rollout-routes", "rollout-analysis", "gpu-dra")
    for toggles in (wide, routes, ("statefulset",)):
        values = merged(*(TOGGLES[name] for name in toggles), {"nameOverride": text, "fullnameOverride": f"x{text}"})
        assert inconsistencies(render(values, release=text, namespace=text), NEWEST) == []
    if text.isalpha():  # the text is the whole name of the objects
        assert inconsistencies(render({"fullnameOverride": text}), NEWEST) == []


def test_release_with_a_dot_has_object_names_without_dots_that_are_unique() -> None:
    needs_crds()
    dotted, dashed = render(release="shop.v2"), render(release="shop-v2")
    assert inconsistencies(dotted, NEWEST) == []
    assert not set(dotted.names()) & set(dashed.names())
