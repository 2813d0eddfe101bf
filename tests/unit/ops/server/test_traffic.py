from ops.server.reports.traffic import Counts, parse_counts

METRICS = """# HELP nv_inference_request_success Number of successful inference requests
nv_inference_request_success{model="a",version="1"} 3
nv_inference_request_success{model="b",version="1"} 4
nv_inference_request_failure{model="a",reason="OTHER",version="1"} 2
nv_inference_pending_request_count{model="b",version="1"} 1
nv_inference_compute_infer_summary_us_count{model="a",version="1"} 4
nv_inference_compute_infer_summary_us_sum{model="a",version="1"} 400000
nv_inference_compute_infer_summary_us{model="a",version="1",quantile="0.5"} Nan
nv_inference_compute_infer_summary_us_sum{model="b",version="1"} 0
nv_cpu_utilization 0.5
"""


def test_counts_are_those_of_each_model() -> None:
    assert parse_counts(METRICS) == {
        "a": Counts(answered=3, failed={"OTHER": 2}, waiting=0, quantiles_ms={}),
        "b": Counts(answered=4, failed={}, waiting=1, quantiles_ms={}),
    }


def test_there_are_no_counts_without_metrics() -> None:
    assert parse_counts("") == {}
