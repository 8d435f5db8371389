"""Supabase: Storage, its CDN, and sign-in."""
