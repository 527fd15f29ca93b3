"""What `manage.py` can do with fastq."""
