"""Networks of our own in diffusers' layout. Nothing here is imported before a checkpoint is opened: diffusers takes
seconds, and neither a listing nor a mistake in a config should wait for it."""
