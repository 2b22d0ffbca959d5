"""What richer streets are made of, and what a camera does to them."""
