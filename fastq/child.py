"""Moves here."""

from fastq.supervisor.child import Child as Child
from fastq.supervisor.child import ChildEntry as ChildEntry
from fastq.supervisor.child import Kind as Kind
