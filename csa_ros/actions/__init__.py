"""What happens in a stream, by frames of it that are compared in their order."""
