"""Going on with the training of a model on pictures and their captions; no ROS."""
