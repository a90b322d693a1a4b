"""Importing a data set: folders, .zip files, label tables."""
