"""What becomes of a run: how it ended, what follows from that, and how it is written down."""
