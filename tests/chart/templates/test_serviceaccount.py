"""serviceaccount.yaml: the identity of the pods."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES
from tests.chart.rendering import render


def test_account_mounts_no_token() -> None:
    assert render().one("ServiceAccount")["automountServiceAccountToken"] is False


def test_account_carries_its_annotations() -> None:
    values = {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/models"}}}
    account = render(values).one("ServiceAccount")
    assert account["metadata"]["annotations"] == values["serviceAccount"]["annotations"]


def test_pods_run_as_an_account_of_the_user_when_none_is_made() -> None:
    rendered = render(TOGGLES["service-account-own"])
    assert not rendered.all("ServiceAccount")
    assert rendered.pod()["spec"]["serviceAccountName"] == "vision"


def test_pods_run_as_the_default_account_when_none_is_named() -> None:
    assert render({"serviceAccount": {"create": False}}).pod()["spec"]["serviceAccountName"] == "default"
