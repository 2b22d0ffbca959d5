"""Where in a picture is what a phrase says: relevancy, and the regions that it makes. No ROS."""
