"""The database schema: the files of `migrations/` (built into the wheel) and what applies and checks them."""
