"""Pictures in: reading, preparing, checking and changing one slice. Pillow and pydicom live here."""
