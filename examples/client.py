"""What Copperplate keeps and saved in a Supabase project, read with Supabase's own package: `pip install supabase`.

A server's key (`sb_secret_…`) in `SUPABASE_KEY` shows everything. A publishable key, made to be seen by everybody,
shows the statistics; the list of pictures is refused.
"""

import os

from supabase import PostgrestAPIError, create_client

project = create_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_KEY"])

made = project.rpc("get_generation_stats").execute().data[0]
kept = project.rpc("get_cache_stats").execute().data[0]
print(f"{made['total_requests']} requests, {made['total_api_calls_saved']} calls to providers saved")
print(f"{kept['total_cached_images']} pictures kept, {kept['total_size_bytes']} bytes")

columns = "object_path, access_count, file_size, created_at"
most_used = project.from_("image_cache").select(columns).order("access_count", desc=True).limit(100)
try:
    rows = most_used.execute().data
except PostgrestAPIError as refused:
    print(f"The list of pictures needs a secret key: {refused.message} [{refused.code}]")
else:
    for row in rows:
        address = project.storage.from_("generated-images").get_public_url(row["object_path"])
        print(f"{row['access_count']} times, {row['file_size']} bytes: {address}")
