"""Connections to PostgreSQL: where it is, how sessions are set up, what is done when one breaks."""
