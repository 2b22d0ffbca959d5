"""From patch features and text features to labels: windows, their merge, the decision."""
