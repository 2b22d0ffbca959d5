"""The process itself: how it starts and ends, its home, its threads, work that is given up."""
