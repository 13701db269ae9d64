"""Values and pure functions that every part of Farkeep may use; imports nothing of ours."""
