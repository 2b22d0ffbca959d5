"""From what a tower keeps of windows to labels of frames: by patches, or by segments."""
