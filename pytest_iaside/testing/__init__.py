"""What runs inside pytest: assertions, gates, the session, fixtures."""
