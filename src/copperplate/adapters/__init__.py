"""The world, behind the ports. Foreign exceptions stop here."""
