"""The serving image: NVIDIA's Triton, the packages the models import, one release."""
