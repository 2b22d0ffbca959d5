"""What other stacks read, made of legends and labels; no ROS needed."""
