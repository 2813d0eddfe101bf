"""Load tests with Locust users: shapes, processes, verdict. Only `locustfile` imports Locust; none imports `cli`."""
