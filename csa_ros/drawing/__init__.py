"""What pictures are drawn with: colours that can be told apart, and letters of any script."""
