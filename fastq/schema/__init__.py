"""The database schema: the migrations (built into the wheel from `migrations/`) and what applies and checks them."""
