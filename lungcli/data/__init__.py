"""Pictures in: reading, preparing, grouping, splitting. Pillow and pydicom live here."""
