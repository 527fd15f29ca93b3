"""What the processes of one host share: the board in memory, and what a child is given."""
