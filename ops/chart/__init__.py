"""What the chart carries but is made elsewhere: rules and dashboards of `ops/`, the README's table of values."""
