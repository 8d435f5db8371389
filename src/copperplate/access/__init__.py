"""Who a caller is, and who may cause a miss."""
