from ops.server.probe import Activity, parse_activity

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


def test_activity_sums_models_and_takes_the_slowest_mean() -> None:
    assert parse_activity(METRICS) == Activity(pending=1, finished=9, slowest_compute_s=0.1)


def test_activity_is_none_at_all_when_there_are_no_metrics() -> None:
    assert parse_activity("") == Activity(pending=0, finished=0, slowest_compute_s=0.0)
