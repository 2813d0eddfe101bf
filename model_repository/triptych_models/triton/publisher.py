"""Hands a registry's totals to Triton, whose /metrics shows them.

A call of Triton's takes 20 us on an idle core and ten for each photo were 2 % of the work; once a second they are
nothing. Instances and models that name the same family and labels share one counter in Triton, which adds up what each
of them hands over and keeps it when they are unloaded.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import triton_python_backend_utils as pb_utils

from triptych_models.metrics.registry import MetricRegistry, Series
from triptych_models.triton.log_lines import describe

PERIOD_S = 1.0


class Publisher:
    """Makes every series at once, at 0, so that rules find them before anything is counted."""

    def __init__(self, registry: MetricRegistry) -> None:
        self._registry = registry
        # Kept for life: in Triton a metric dies with its family.
        self._families: dict[str, Any] = {}
        self._counters = [self._metric(series, pb_utils.MetricFamily.COUNTER) for series in registry.series]
        self._gauges = [
            (self._metric(gauge.series, pb_utils.MetricFamily.GAUGE), gauge.read) for gauge in registry.gauges
        ]
        self._published = [0.0] * len(registry.series)

    def start(self) -> None:
        """Publishes now, and then every second for as long as the process lives. Needs no `finalize`: the thread dies
        with the process, which Triton ends without waiting for threads.
        """
        self.publish()
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def publish(self) -> None:
        """Hands over what has changed.

        Raises:
            pb_utils.TritonModelException: Triton did not take one; it is handed over with the next.
        """
        for position, total in enumerate(self._registry.totals()):
            if total != self._published[position]:
                self._counters[position].increment(total - self._published[position])
                self._published[position] = total
        for gauge, read in self._gauges:
            gauge.set(read())
        while self._registry.failures:
            fields = {"model": self._registry.model, "message": self._registry.failures.popleft()}
            pb_utils.Logger.log_error(describe("uncounted", **fields))

    def _run(self) -> None:
        while True:
            time.sleep(PERIOD_S)
            try:
                self.publish()
            except Exception as error:  # a full disk, a server that is going: photos are answered all the same
                pb_utils.Logger.log_error(
                    describe("metrics_unpublished", model=self._registry.model, message=str(error))
                )

    def _metric(self, series: Series, kind: Any) -> Any:
        if series.name not in self._families:
            self._families[series.name] = pb_utils.MetricFamily(name=series.name, description=series.meaning, kind=kind)
        return self._families[series.name].Metric(labels=series.labels)
