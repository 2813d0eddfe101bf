"""The objectives of ops/slo.yaml and the deployment that they describe. Must not import rules or dashboards."""
