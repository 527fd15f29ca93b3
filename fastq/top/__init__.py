"""The fleet in a terminal: what `fastq top` shows, with keys to steer it. Needs Textual."""
