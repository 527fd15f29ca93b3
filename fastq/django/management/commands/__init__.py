"""fastq_worker, fastq_migrate, and fastq for everything else."""
