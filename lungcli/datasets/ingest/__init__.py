"""Making a data set out of files: folders, zip files, label tables."""
