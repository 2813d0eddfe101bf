"""The serving image: NVIDIA's Triton, the packages that the models import, one release. Imports no server code."""
