"""The thin ROS layer: messages in, messages out; nothing below it knows about ROS."""
