"""The node's parameters, also for tools that run without it: no ROS needed."""
