"""Fine-tuning of the backbone's last blocks. Must not import `training.pipeline`."""
