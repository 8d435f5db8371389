"""Who may cause a miss."""
