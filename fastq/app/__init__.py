"""The app, in parts: what it declares, its connections, its ways to enqueue."""

from fastq.app.app import App
from fastq.app.registry import Hook, Lifespan, Middleware, provide

__all__ = ["App", "Hook", "Lifespan", "Middleware", "provide"]
