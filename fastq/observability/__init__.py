"""What fastq says of itself: logs and metrics. Imports only the standard library and fastq's words."""
