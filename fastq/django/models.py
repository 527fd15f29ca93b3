"""No models: with this module, Django tells the application when it has migrated a database."""
