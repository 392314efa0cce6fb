"""Programs that make models; they need the extra `training`."""
