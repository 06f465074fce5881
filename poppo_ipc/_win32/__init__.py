"""Windows itself: its calls, typed, a file for each subject. Nothing here knows what it is called for."""
