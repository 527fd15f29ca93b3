"""`python -m fastq` is the same as `fastq`."""

from fastq.cli.main import main

main()
