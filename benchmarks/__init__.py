"""What the project measures for itself, beside what `fastq bench` measures for its users.

python -m benchmarks SCENARIO        depth, payload, rollback, scale: the options of `fastq bench`
python -m benchmarks.report [DIR]    the page and the plots of bench_results/, with the bars of bars.py
python benchmarks/NAME.py            groups, notify, promotion, workers, yardstick, peers/compare
"""
