"""Getting published data sets: mirrors, resumable downloads, checks."""
