"""The page: a node that serves pictures and controls of segment nodes to any browser."""
