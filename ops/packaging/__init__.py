"""The serving image, its bill of materials and the chart's derived files. Must not import any other room of `ops`."""
